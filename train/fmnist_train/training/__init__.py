"""One training run: loop, loss, optimizer, teachers, state and progress."""
