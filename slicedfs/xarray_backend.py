"""The engine "slicedfs" of xarray. xarray loads this module for every user of ``open_dataset``: it stays light."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar, Unpack

from xarray.backends.common import BackendEntrypoint

if TYPE_CHECKING:
    import xarray as xr

    from slicedfs.opening import OpenKeywords

__all__ = ["SlicedfsBackendEntrypoint"]


class SlicedfsBackendEntrypoint(BackendEntrypoint):
    """Opens slicedimage / SpaceTx image sets; always named by ``engine="slicedfs"``, never guessed.

    The options of every method are those of :func:`slicedfs.open_dataarray`.
    """

    description = "Tiled image sets (slicedimage / SpaceTx manifests) on any fsspec filesystem"
    supports_groups = True
    # Given, so that xarray neither inspects the signatures nor passes CF decoders, which images have no use for.
    open_dataset_parameters: ClassVar[tuple[str, ...] | None] = (
        "filename_or_obj",
        "drop_variables",
        "group",
        "level",
        "stack",
        "mosaic",
    )

    def guess_can_open(self, filename_or_obj: object) -> bool:  # noqa: ARG002 - the signature is xarray's
        """Return False: a ``.json`` may be anything, and looking inside would cost a request."""
        return False

    def open_dataset(
        self,
        filename_or_obj: Any,
        *,
        drop_variables: str | Iterable[str] | None = None,
        group: str | None = None,
        level: int = 0,
        stack: str | None = None,
        mosaic: bool = False,
        **options: "Unpack[OpenKeywords]",
    ) -> "xr.Dataset":
        """Open one tile set, or those of a collection put together, as a Dataset with the variable "image"."""
        from slicedfs.opening import Which, open_dataset
        from slicedfs.options import Combine

        which = Which(group=group, level=level, combine=Combine(stack=stack, mosaic=mosaic))
        return _dropped(open_dataset(filename_or_obj, which, options), drop_variables)

    def open_groups_as_dict(
        self,
        filename_or_obj: Any,
        *,
        drop_variables: str | Iterable[str] | None = None,
        group: str | None = None,
        select: str | None = None,
        depth: int | None = None,
        **options: "Unpack[OpenKeywords]",
    ) -> "dict[str, xr.Dataset]":
        """Open all tile sets below the document, concurrently: group path -> Dataset.

        Parameters
        ----------
        select
            Glob pattern on paths, as "primary/fov_0*"; documents off every matching path are not read.
        depth
            Levels below the document that are read; None: all.
        """
        from slicedfs.opening import open_groups

        groups = open_groups(filename_or_obj, group, (select, depth), options)
        return {name: _dropped(dataset, drop_variables) for name, dataset in groups.items()}

    def open_datatree(
        self,
        filename_or_obj: Any,
        *,
        drop_variables: str | Iterable[str] | None = None,
        group: str | None = None,
        select: str | None = None,
        depth: int | None = None,
        **options: "Unpack[OpenKeywords]",
    ) -> "xr.DataTree":
        """Open all tile sets below the document as a DataTree; see :meth:`open_groups_as_dict`."""
        import xarray as xr

        groups = self.open_groups_as_dict(
            filename_or_obj, drop_variables=drop_variables, group=group, select=select, depth=depth, **options
        )
        return xr.DataTree.from_dict(groups)


def _dropped(dataset: "xr.Dataset", names: str | Iterable[str] | None) -> "xr.Dataset":
    wanted = [names] if isinstance(names, str) else list(names or ())
    return dataset.drop_vars([name for name in wanted if name in dataset.variables])
