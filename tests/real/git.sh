#!/bin/bash
# git: init, commits, branches, merge, clone, log, gc, fsck on a generated repository.
# needs: git git
# patches: git
# timeout: 60
exec 2>&1
export GIT_AUTHOR_NAME=A GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=A GIT_COMMITTER_EMAIL=a@b GIT_CONFIG_NOSYSTEM=1
export GIT_AUTHOR_DATE='2001-01-01 00:00 +0000' GIT_COMMITTER_DATE='2001-01-01 00:00 +0000'
git init -q -b main repo; cd repo
for i in 1 2 3 4 5 6 7 8; do
	for f in 1 2 3 4 5 6 7 8 9 10 11 12; do seq $((i * f)) > file$f; done
	git add .; git commit -qm "commit $i"
done
git log --oneline --stat | md5sum; git checkout -q -b side HEAD~3; echo side > side; git add side; git commit -qm side
git checkout -q main; git merge -q -m merge side; git log --graph --oneline | head -20; git rev-parse HEAD
git diff HEAD~2 | sha1sum; git blame file3 | md5sum; git grep -c 7 | md5sum; git status --short; git stash list
git -c gc.auto=0 gc -q --prune=now; git count-objects -v | grep -v size; git fsck --no-progress; cd ..
git clone -q --no-local repo copy 2>&1; git -C copy log --oneline | wc -l; git -C copy rev-parse HEAD
git clone -q file://$PWD/repo third; cd third; echo new > new; git add new; git commit -qm new; git push -q origin HEAD:refs/heads/pushed; git -C ../repo branch
git rebase -q HEAD~2 2>&1; git archive HEAD | tar t | wc -l; git bisect start HEAD HEAD~4 2>&1 | tail -1; git nonexistent; echo $?
