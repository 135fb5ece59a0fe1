# Sourced by the studies beside it, which set `study` and `extras`: makes .venv in the checkout if it is missing, and sets
# checkout, python and folder, which is the first argument if that is no option; "$@" keeps the others.
checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=${PYTHON:-$checkout/.venv/bin/python}
if [ ! -x "$python" ] && [ -z "${PYTHON:-}" ]; then
  python3 -m venv "$checkout/.venv"
  "$python" -m pip install --quiet --editable "$checkout$extras"
fi
folder=$checkout/$study
if [ $# -gt 0 ] && [[ $1 != --* ]]; then
  folder=$1
  shift
fi
