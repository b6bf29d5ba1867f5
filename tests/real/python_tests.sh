#!/bin/bash
# python3's own tests of the modules that are nothing but system calls, test by test.
# needs: /usr/lib/python3.11/test/test_os.py libpython3.11-testsuite
# patches: python3
# only: ladder
# timeout: 300
modules='os posix signal subprocess threading select poll epoll selectors socket mmap fcntl pty fork1 wait3 wait4 eintr'
# They mostly sleep: four at a time. Virtual machines' own sockets hang on some hosts, patched or not. Two skip
# themselves when the machine is busy: one could not fill a socket's buffer, one could not look up the host's name.
printf '%s\n' $modules | xargs -P4 -I{} sh -c 'mkdir {}; cd {}; TMPDIR=$PWD timeout 120 /usr/bin/python3 -m test -v -i "*VSOCK*" -i testWriteNonBlocking -i testHostnameRes test_{} > out 2>&1; echo $? > status'
for module in $modules; do
	echo "$module: exit $(cat $module/status)"
	# One line for each test: its name and how it ended, whatever it printed in between.
	grep -oE '^test[A-Za-z0-9_]* \([^)]*\)|\.\.\. .*(ok|FAIL|ERROR|skipped .*|expected failure)$|^(ok|FAIL|ERROR)$' $module/out |
		sed -E 's/^\.\.\. .*(ok|FAIL|ERROR|skipped|expected failure).*/\1/' | sort | uniq -c
done
