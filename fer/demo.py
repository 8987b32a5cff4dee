"""Show a trained model in a web page on this machine: ``python -m fer.demo ckpt=outputs/<name>/<time>``."""

from typing import TYPE_CHECKING

from fer.cli import command
from fer.cli.in_python import settled
from fer.errors import ConfigError

if TYPE_CHECKING:
    from omegaconf import DictConfig


def demo(cfg: "DictConfig") -> None:
    """Serve a page with pictures, a camera, videos, two models side by side and a game, and an HTTP endpoint.

    Args:
        cfg: The composed ``conf/demo.yaml``.

    Raises:
        FERError: If no model is named or it cannot be used, the port is taken, or a text of the game has a fault.
    """
    if cfg.get("ckpt") is None:
        raise ConfigError(_NO_MODEL)
    from fer.extras import need

    need("fer.demo", "starlette", "uvicorn")
    from fer.files import hub
    from fer.framing.detectors import build_detector
    from fer.serving import listening, situations

    config = settled(cfg)
    games = situations.all_of(config["language"])
    if config["detector"] != "none":
        build_detector(config["detector"])
    for key in ("ckpt", "compare"):
        if config[key] is not None:
            config[key] = hub.local(config[key], key)[1] or config[key]  # the same commit for as long as it is shown
    with listening.opened(config["host"], config["port"]) as socket:
        # Imported here, so that a mistake in the command is reported before the seconds that torch takes.
        from fer import environment

        environment.check()
        from fer.serving import app

        environment.quieten(first=True)
        listening.serve(app.build(config, games), socket, config["browser"])


_NO_MODEL = """\
ckpt: which model? Name a run: python -m fer.demo ckpt=outputs/<name>/<time>
  There is none yet? In a checkout, 'make demo' trains one on drawn faces and opens the page. Or train first:
    python -m fer.train                                                            drawn faces, to see how it goes
    python -m fer.train experiment=fer2013_silu data=fer2013 data.root=<folder>    FER2013 (research only), ten minutes
    python -m fer.train data=folder data.root=<folder>                             a folder of photographs an emotion"""


def main() -> None:
    """Compose the config from the command line and serve."""
    command.run(demo, "demo")


if __name__ == "__main__":
    main()
