# shellcheck shell=sh
# The program PYTHON, but what examples/make_plates.py makes is kept in the folder KEPT, and copied the
# next time: the same arguments give the same bytes. blocks.py writes the script that reads this one.
[ "$1" = examples/make_plates.py ] && [ $# -ge 2 ] && [ ! -e "$2" ] || exec "$PYTHON" "$@"
out=$2
shift 2
kept=$KEPT/$(printf '%s' "plates $*" | tr -c 'a-zA-Z0-9' _)
if [ ! -e "$kept" ]; then
    new=$(mktemp -d "$KEPT/new.XXXXXX")
    "$PYTHON" examples/make_plates.py "$new/plates" "$@" > "$new/said" || exit
    mv -T "$new" "$kept" 2> /dev/null || rm -r "$new" # another process was first
fi
mkdir -p "$(dirname "$out")" && cp -a "$kept/plates" "$out" && sed "s|^.*/plates:|$out:|" "$kept/said"
