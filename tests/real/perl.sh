#!/bin/bash
# perl: files, processes, signals, sockets, sleep and alarm.
# patches: perl
exec 2>&1
perl -e '
use POSIX ":sys_wait_h"; use Socket; use IO::Handle; use Time::HiRes qw(sleep alarm); $| = 1;
for my $i (1..20) { my $pid = fork; if (!$pid) { exit $i } waitpid $pid, 0; print $? >> 8, " "; } print "\n";
local $SIG{ALRM} = sub { die "alarm\n" }; eval { alarm 0.05; sleep 5; }; print $@;
print `echo backticks; exit 3`, $? >> 8, "\n"; system "kill -9 \$\$"; print $? & 127, "\n";
socketpair(my $a, my $b, AF_UNIX, SOCK_STREAM, PF_UNSPEC); $a->autoflush(1); print $a "line\n"; print scalar <$b>;
open my $f, ">", "file"; print $f "x\n" x 1000; close $f; open $f, "<", "file"; my @l = <$f>; print scalar(@l), "\n"; unlink "file";
opendir my $d, "/"; print scalar(grep { $_ eq "etc" } readdir $d), "\n"; print join(",", map { sprintf "%o", $_ & 0777 } (stat "/")[2]), "\n";
my %h; $h{$_ % 97}++ for 1..100000; print scalar(keys %h), "\n"; pipe my $r, my $w; if (!fork) { close $r; print $w "from child"; exit } close $w; print <$r>, "\n"; wait;
print "no file: $!\n" unless open my $n, "<", "/nonexistent"; $SIG{CHLD} = sub { 1 while waitpid(-1, WNOHANG) > 0 }; for (1..10) { fork || exit } sleep 0.1; print "reaped\n"; kill 15, $$; sleep 1;'
echo $?
