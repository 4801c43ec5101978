#!/usr/bin/env bash
# The sources with all seeded bugs: a copy, to which the patches in `bugs/` add them. `TOLLGATE_MUTANT`
# chooses one when a model runs. Without it the copy does what the sources do.
#
#   tree.sh         makes the copy, in target/tree
#   tree.sh write   writes the patches anew from the copy, after it was edited
set -euo pipefail
cd "$(dirname "$0")"
tree=$PWD/target/tree

if [[ ${1:-} == write ]]; then
    rm -rf bugs && mkdir bugs
    (cd "$tree" && find src -name '*.rs' | sort) | while read -r file; do
        old=../$file label=a/$file
        [[ -e $old ]] || old=/dev/null label=/dev/null
        name=${file#src/}
        diff -U2 --label "$label" --label "b/$file" "$old" "$tree/$file" >"bugs/${name//\//-}.patch" || true
    done
    find bugs -empty -delete
    exit
fi

rm -rf "$tree" && mkdir -p "$tree"
tar -C .. --exclude=./target --exclude=./verify/target --exclude=./.git -cf - . | tar -C "$tree" -xf -
# The copy is no part of the repository around it: there `git apply` would skip what it does not know.
export GIT_CEILING_DIRECTORIES=$PWD/target
cd "$tree"
for patch in verify/bugs/*.patch; do
    git apply "$patch" || {
        echo "verify/bugs: ${patch##*/} no longer fits the sources. Make a copy without it (move it away," >&2
        echo "run verify/tree.sh), put its bugs into the copy by hand, and run verify/tree.sh write." >&2
        exit 1
    }
done
