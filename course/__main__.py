"""python -m course is the labkit command."""

from course.cli import main

main()
