"""`python -m maskx_pipeline ...` is the installed command `maskx`."""

import os
import sys

if __name__ == "__main__":  # a process that it starts imports this file too
    # Python looks into the working directory first here, where a torch.py of somebody may lie. A checkout stays, last.
    here = os.getcwd()  # noqa: PTH109 - pathlib would be looked for there too
    if sys.path[:1] in ([""], [here]):
        del sys.path[0]
        if os.path.dirname(os.path.dirname(os.path.abspath(__file__))) == here:  # noqa: PTH100, PTH120
            sys.path.append(here)

    from maskx_pipeline.commands import main

    main()
