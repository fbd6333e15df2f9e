"""Programs that print what slicedfs costs, beside what others cost for the same work. Start with README.md."""
