"""Behind ``fer.predict`` and ``fer.load``: a trained model on photographs, videos and a camera."""
