#!/usr/bin/env bash
# Compiles pyproject.toml into requirements.txt (to run) and requirements-dev.txt (to develop: a superset).
#
#   scripts/compile-requirements.sh            keep the present pins, add and remove what pyproject.toml asks for
#   scripts/compile-requirements.sh --upgrade  take the newest versions that pyproject.toml allows
#   scripts/compile-requirements.sh --check    change nothing; exit 1 unless both files are in step
#   scripts/compile-requirements.sh --pins     compile nothing; print the pins of .env, one NAME=value a line
#
# Exit codes: 0 done, 1 out of step or not resolvable, 2 unknown option, 77 malformed pin in .env or no pip-tools.
set -euo pipefail
cd "$(dirname "$0")/.."

stop() { # exit code, message
    echo "compile-requirements: $2" >&2
    exit "$1"
}

# The pins name what an image is built from and what it is labelled with; nothing is built on a half-written one.
read_pins() {
    local number=0 line name value pattern form
    while IFS= read -r line || [[ -n $line ]]; do
        number=$((number + 1))
        [[ ${line%$'\r'} =~ ^[[:space:]]*(export[[:space:]]+)?(BASE_IMAGE|TRADING_RUNTIME_COMMIT)[[:space:]]*=(.*)$ ]] || continue
        name="${BASH_REMATCH[2]}"
        value="$(sed -E 's/[[:space:]]#.*$//; s/^[[:space:]]+//; s/[[:space:]]+$//; s/^"(.*)"$/\1/; s/^'\''(.*)'\''$/\1/' <<< "${BASH_REMATCH[3]}")"
        [[ -n $value ]] || continue
        case $name in
            BASE_IMAGE)
                pattern='^[a-z0-9][a-z0-9._/:-]*:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}@sha256:[0-9a-f]{64}$'
                form="name:tag@sha256:<64 lower-case hex digits>" ;;
            TRADING_RUNTIME_COMMIT)
                pattern='^[0-9a-f]{7,40}$'
                form="7 to 40 lower-case hex digits" ;;
        esac
        [[ $value =~ $pattern ]] || stop 77 ".env line $number: $name is not $form: correct it or leave it empty"
        echo "$name=$value"
    done < .env
}

mode=compile
upgrade=()
case "${1:-}" in
    "") ;;
    --check) mode=check ;;
    --upgrade) upgrade=(--upgrade) ;;
    --pins) mode=pins ;;
    *) stop 2 "unknown option $1: use --check, --upgrade, --pins or none" ;;
esac

pins=""
if [[ -f .env ]]; then pins="$(read_pins)"; fi
if [[ $mode == pins ]]; then
    echo "$pins"
    exit 0
fi

python="$PWD/.venv/bin/python"
[[ -x $python ]] || python=python3
"$python" -c "import piptools" 2> /dev/null || stop 77 "$python has no pip-tools: run scripts/bootstrap first"

# The lock holds what the public index publishes. Folders and further indexes of one machine could put builds of
# its own into it, so they are set aside; the index itself (perhaps a mirror) and its certificate stay.
for key in index-url cert; do
    variable="PIP_$(tr 'a-z-' 'A-Z_' <<< "$key")"
    if value="${!variable:-$("$python" -m pip config get "global.$key" 2> /dev/null)}"; then
        export "$variable=$value"
    fi
done
export PIP_CONFIG_FILE=/dev/null
unset PIP_FIND_LINKS PIP_EXTRA_INDEX_URL PIP_NO_INDEX
export CUSTOM_COMPILE_COMMAND=scripts/compile-requirements.sh

# Everything happens on a copy; the files are replaced at the end or not at all.
copy="$(mktemp -d)"
trap 'rm -rf "$copy"' EXIT
locks=(requirements.txt requirements-dev.txt)
for file in pyproject.toml "${locks[@]}"; do
    if [[ -f $file ]]; then cp "$file" "$copy/"; fi
done

compile() { # output file, further options
    (
        cd "$copy"
        "$python" -m piptools compile --quiet --generate-hashes --strip-extras --allow-unsafe \
            --no-emit-index-url --no-emit-find-links --no-emit-trusted-host \
            ${upgrade[@]+"${upgrade[@]}"} --output-file "$1" --extra build "${@:2}" pyproject.toml
    ) > /dev/null 2> "$copy/messages" \
        || stop 1 "cannot compile $1: $(sed -nE '/[^ ]/ { s/^[A-Za-z_.]+: //; h }; $ { g; p }' "$copy/messages") (can the index be reached?)"
}
compile requirements.txt
# The first file constrains the second, so that what is tested is what runs.
compile requirements-dev.txt --extra dev --constraint requirements.txt

if [[ $mode == check ]]; then
    # Comments say why a package is there and differ between Pythons; pins and hashes must not.
    for file in "${locks[@]}"; do
        cmp --silent <(grep -v '^ *#' "$copy/$file") <(grep -v '^ *#' "$file" 2> /dev/null) \
            || stop 1 "$file is out of step with pyproject.toml: run scripts/compile-requirements.sh"
    done
else
    for file in "${locks[@]}"; do
        mv "$copy/$file" "$file"
    done
fi
