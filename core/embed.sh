#!/bin/sh
# core/embed.sh NAME=PATH... : print an assembler file with the table mlb_embedded_files (core/runtime.h).
# Each PATH is included whole; the text is NUL-terminated, and the size does not count that NUL.
set -eu

printf '\t.section .rodata\n'
n=0
for pair in "$@"; do
	printf '.Lname%d:\t.asciz "%s"\n.Ltext%d:\t.incbin "%s"\n.Lend%d:\t.byte 0\n' \
		$n "${pair%%=*}" $n "${pair#*=}" $n
	n=$((n + 1))
done
printf '\t.section .data.rel.ro, "aw"\n\t.balign 8\n\t.globl mlb_embedded_files\nmlb_embedded_files:\n'
i=0
while [ $i -lt $n ]; do
	printf '\t.8byte .Lname%d, .Ltext%d, .Lend%d - .Ltext%d\n' $i $i $i $i
	i=$((i + 1))
done
printf '\t.8byte 0, 0, 0\n\t.section .note.GNU-stack, "", %%progbits\n'
