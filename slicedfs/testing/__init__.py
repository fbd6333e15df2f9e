"""Fakes for tests of code that uses slicedfs: count requests, delay them, break them.

Importing this module registers the protocol ``recording://`` with fsspec.
"""

from slicedfs.testing.recording import Access, RecordingFileSystem, register

__all__ = ["Access", "RecordingFileSystem", "register"]

register()
