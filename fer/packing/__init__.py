"""Behind ``fer.pack``: a dataset becomes tar shards. No torch of its own."""
