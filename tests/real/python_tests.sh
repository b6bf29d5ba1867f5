#!/bin/bash
# python3's own tests of the modules that are nothing but system calls, test by test.
# needs: /usr/lib/python3.11/test/test_os.py libpython3.11-testsuite
# patches: python3
# alone: none
# timeout: 400
modules='os posix signal subprocess threading select poll epoll selectors socket mmap fcntl pty fork1 wait3 wait4 eintr'
# They mostly sleep: six at a time. Virtual machines' own sockets hang on some hosts, patched or not.
busy='too slow or load too high|itimer resolution|name lookup failure|failed to saturate|sporadic ENOTCONN'
# Their sockets' paths, which hold the process's number, must be short: some would be too long by a digit.
short=$(mktemp -d /tmp/py.XXXX)
trap 'rm -rf "$short"' EXIT
export short
printf '%s\n' $modules | xargs -P6 -I{} sh -c 'mkdir {} $short/{}; cd {}; TMPDIR=$short/{} timeout 240 /usr/bin/python3 -m test -v -i "*VSOCK*" test_{} > out 2>&1; echo $? > status'
for module in $modules; do
	echo "$module: exit $(cat $module/status)"
	# One line for each test: its name, how it ended, and why it was skipped, whatever it printed in between. Those that
	# skip themselves because the machine is slow, busy or without a name may as well be run.
	awk -v busy="$busy" '
		/^test[A-Za-z0-9_]* \(/ { name = $1 " " $2 }
		match($0, /\.\.\. .*(ok|FAIL|ERROR|skipped .*|expected failure)$|^(ok|FAIL|ERROR)$/) {
			ended = substr($0, RSTART)
			if (match(ended, /skipped .*/)) ended = ended ~ busy ? "ok" : substr(ended, RSTART)
			else { match(ended, /(ok|FAIL|ERROR|expected failure)$/); ended = substr(ended, RSTART) }
			print name, ended
		}' $module/out | sort
done
