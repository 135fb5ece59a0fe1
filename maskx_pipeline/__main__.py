"""`python -m maskx_pipeline ...` is the installed command `maskx`."""

from maskx_pipeline.commands import main

if __name__ == "__main__":  # a process that it starts imports this file too
    main()
