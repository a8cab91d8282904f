"""`python -m capstone_metrics`: `kedro run` of the installed package, in any folder."""

from pathlib import Path

from kedro.framework.cli.utils import find_run_command
from kedro.framework.project import configure_project


def main() -> None:
    """Run pipelines as `kedro run` does, with its options.

    Returns normally on success: a Databricks job, or any program that calls it, treats even
    `SystemExit(0)` as a failure.

    Raises:
        SystemExit: with the exit code of a failed run, after its error was printed.
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
