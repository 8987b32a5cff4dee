"""fer: facial-expression recognition whose numbers can be trusted."""

import os

# albumentations asks a registry for its newest version at import time; a training job must not.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

__version__ = "0.1.0"
