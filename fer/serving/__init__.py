"""Behind ``fer.demo``: a web page and an HTTP endpoint on this machine."""
