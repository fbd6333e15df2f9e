"""A crew: tasks that may become more, of which the first error ends all."""

import asyncio

import pytest

from slicedfs.store.crew import Crew


async def test_tasks_that_come_later_are_waited_for() -> None:
    """A task may add others, and these further ones; all are done at the end."""
    crew, done = Crew(), []

    async def work(depth: int) -> None:
        await asyncio.sleep(0)
        if depth:
            crew.add(work(depth - 1))
            crew.add(work(depth - 1))
        await asyncio.sleep(0)
        done.append(depth)

    crew.add(work(4))
    assert crew.size == 1
    await crew.wait()
    assert sorted(done) == [0] * 16 + [1] * 8 + [2] * 4 + [3] * 2 + [4]
    assert crew.size == 0


async def test_the_first_error_ends_all() -> None:
    """The first error is raised alone, once the others are cancelled and gone, late ones included."""
    crew, gone = Crew(), []

    async def wait(number: int) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            gone.append(number)

    async def fail() -> None:
        crew.add(wait(3))
        await asyncio.sleep(0)
        raise LookupError("broken")

    crew.add(wait(1))
    crew.add(wait(2))
    crew.add(fail())
    with pytest.raises(LookupError, match=r"^broken$"):
        await crew.wait()
    assert sorted(gone) == [1, 2, 3]


async def test_cancelling_the_wait_cancels_all() -> None:
    """Who waits may be cancelled: nothing is left at work."""
    crew, gone = Crew(), []

    async def wait(number: int) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            gone.append(number)

    for number in range(3):
        crew.add(wait(number))
    waiting = asyncio.create_task(crew.wait())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError, match=r"^$"):
        await waiting
    assert sorted(gone) == [0, 1, 2]


async def test_others_that_ended_in_the_same_moment() -> None:
    """Tasks that have ended, but were not counted yet, do not keep the error waiting."""
    crew = Crew()

    async def end() -> None:
        await asyncio.sleep(0)

    async def fail() -> None:
        await asyncio.sleep(0)
        raise LookupError("broken")

    crew.add(fail())
    for _ in range(5):
        crew.add(end())
    async with asyncio.timeout(10):
        with pytest.raises(LookupError, match=r"^broken$"):
            await crew.wait()
    assert crew.size == 0
