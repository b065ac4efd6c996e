"""`python -m avengers_edge` is the same as `avengers`."""

from avengers_edge.cli.main import main

if __name__ == "__main__":
    main()
