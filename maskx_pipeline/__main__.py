"""`python -m maskx_pipeline ...` is the installed command `maskx`."""

from maskx_pipeline.commands import main

main()
