"""Front door from a checkout: `python cli.py ...` is the installed command `maskx`."""

from maskx_pipeline.commands import main

if __name__ == "__main__":
    main()
