from typing import Any

class RowBlock:
    n_entries: int
    def __init__(
        self,
        rows: list[Any],
        start: int,
        stop: int,
        *,
        n_features: int,
        finite: bool,
        first_row: int = 0,
    ) -> None: ...
    def write(self, indptr: Any, indices: Any, values: Any) -> None: ...
