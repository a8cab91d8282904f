"""`python -m capstone_metrics`: `kedro run` of the installed package, in any folder."""

from pathlib import Path

from kedro.framework.cli.utils import find_run_command
from kedro.framework.project import configure_project


def main() -> None:
    """Run pipelines as `kedro run` does, with its options.

    Returns when they have run: to a job of Databricks, and to any program that goes on, even
    `SystemExit(0)` is a failure.

    Raises:
        SystemExit: with the exit code of a run that failed, once it was said why.
    """
    package = Path(__file__).parent.name
    configure_project(package)
    try:
        find_run_command(package)()
    except SystemExit as end:
        if end.code:
            raise


if __name__ == "__main__":
    main()
