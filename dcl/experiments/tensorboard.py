"""TensorBoard's event files of one run."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from mnistcompose.errors import InputError
from mnistcompose.storage.files import failing

from ..training.history import History
from ..training.recipe import learning_rate
from .run import Run

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


def need_tensorboard() -> None:
    """Check that TensorBoard is installed.

    Raises
    ------
    InputError
        It is not; the message says what to install.
    """
    if find_spec("tensorboard") is None:
        raise InputError("event files need TensorBoard: pip install tensorboard")


@contextmanager
def event_log(folder: Path, run: Run) -> Iterator[Callable[[History], None]]:
    """Write a run's events; yields a function that takes the history after every epoch.

    A run that resumes, or is stored already, is written from its first epoch, and the events of an earlier process are
    purged: no epoch appears twice, and none is missing.

    Raises
    ------
    InputError
        TensorBoard is not installed.
    BuildError
        The folder cannot be written.
    """
    need_tensorboard()
    from torch.utils.tensorboard import SummaryWriter

    with failing("make the folder", folder):
        folder.mkdir(parents=True, exist_ok=True)
    writer: SummaryWriter | None = None
    done = 0

    def write(history: History) -> None:
        nonlocal writer, done
        with failing("write", folder):
            if writer is None:  # only when there is something to write: a refused run purges nothing
                writer = SummaryWriter(str(folder), purge_step=0)
                _describe(writer, run)
            for epoch in range(done + 1, history.epochs + 1):
                for name, value in _scalars(run, history, epoch).items():
                    writer.add_scalar(name, value, epoch)
            writer.flush()
        done = history.epochs

    try:
        yield write
    finally:
        if writer is not None:
            writer.close()


def _describe(writer: "SummaryWriter", run: Run) -> None:
    """Write what determines the run, as text and as hyper-parameters."""
    from torch.utils.tensorboard.summary import hparams

    settings = {"dataset": run.dataset.name, "model": run.model, "seed": run.seed, "epochs": run.epochs}
    settings |= {**run.recipe.fields(), "precision": run.precision}
    for summary in hparams(settings, {"error/test": None, "loss/test": None}):  # type: ignore[no-untyped-call]
        # `add_hparams` would write them as a separate run
        writer._get_file_writer().add_summary(summary)  # type: ignore[no-untyped-call]
    rows = "\n".join(f"| {key} | {value} |" for key, value in settings.items())
    writer.add_text("run", f"| | |\n| --- | --- |\n{rows}", 0)


def _scalars(run: Run, history: History, epoch: int) -> dict[str, float]:
    """Values measured in an epoch (from 1); the learning rate is that of its last step."""
    images = next(iter(run.dataset.splits.values()))["images"]
    batches = images // min(run.recipe.batch_size, images)
    return {
        "loss/train": history.train_loss[epoch - 1],
        "loss/test": history.test_loss[epoch - 1],
        "error/test": history.test_error[epoch - 1],
        "learning_rate": learning_rate(run.recipe, epoch * batches - 1, run.epochs * batches),
        "images_per_second": history.images_per_second[epoch - 1],
    }
