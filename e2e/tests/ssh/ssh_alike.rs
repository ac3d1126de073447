//! OpenSSH's own programs, `rsync` and `git`, each through the gateway and directly: what they print, how they end and
//! what they leave must be the same.

use crate::alike::{Alike, put_tree};

/// Each in the directory `local` of its machine; `$R` is the host's directory.
const SSH: &[&str] = &[
    "ssh web 'echo out; echo err >&2; exit 7'",
    "ssh web 'kill -9 $$'",
    "ssh web 'kill -TERM $$'",
    "ssh web true; ssh web false; echo $?",
    "ssh web no-such-program",
    "ssh web 'syntax ( error'",
    "ssh web -- ls -l \"$R/nothing\"",
    "ssh web 'cat; echo \"status $?\"' <tree/large | sha256sum",
    "ssh web 'head -c 3' <tree/large | od -c",
    "ssh -n web 'cat; echo end'",
    "ssh web 'exec <&-; exec >&-; exit 3'",
    "ssh web 'exec >&-; cat >/dev/null; echo err >&2; exit 4' <tree/large",
    "ssh web 'head -c 3000000 /dev/zero; echo end >&2; exit 5' | sha256sum; echo ${PIPESTATUS[0]}",
    "ssh web 'sleep 0.3 & echo at once'",
    "ssh web 'printf \"no end\"; printf \"\\377\\0\\1\"' | od -c",
    "ssh web 'printf \"%s|\" \"$#\" \"$0\" \"$-\"; pwd; umask'",
    "ssh web 'tty'; ssh -T web tty",
    "ssh -tt web 'tty >/dev/null && stty size; echo err >&2; exit 9'",
    "TERM=vt100 ssh -tt web 'echo $TERM; stty -a | head -n 1'",
    "ssh -tt web 'read -r line; echo \"got $line\"' <<<typed",
    "GIT_PROTOCOL=version=2 ssh -o SendEnv=GIT_PROTOCOL web 'echo \"$GIT_PROTOCOL\"'",
    "ssh -o SetEnv=NOT_ACCEPTED=1 web 'echo \"[$NOT_ACCEPTED]\"'",
    "ssh -o RemoteCommand='echo configured' web",
    "for n in 1 2 3 4 5 6 7 8; do ssh web \"echo $n; exit $n\" & done | sort",
    "ssh web \"mkdir $R/made && cd $R/made && umask 027 && echo x >file && ln -s file link && touch -d 2011-11-11 file\"",
];

const SCP: &[&str] = &[
    "scp -pr tree \"web:$R/a\"",
    "scp -Opr tree \"web:$R/b\"",
    "scp -pr \"web:$R/a\" back-a",
    "scp -Opr \"web:$R/b\" back-b",
    "scp -q tree/large tree/d1/f1 \"web:$R\"; scp -Oq tree/d1/f11 \"web:$R/\"",
    "scp tree/d1/f1 \"web:$R/none/below\"; echo $?; scp -O tree/d1/f1 \"web:$R/none/below\"",
    "scp \"web:$R/missing\" .; echo $?; scp -O \"web:$R/missing\" .",
    "scp \"web:$R/missing\" \"web:$R/large\" back-a; echo $?; scp -O \"web:$R/missing\" \"web:$R/large\" back-b",
    "scp missing tree/d1/f1 \"web:$R/c\"; echo $?; scp -O missing tree/d1/f1 \"web:$R/c\"",
    "scp \"web:$R/a\" .; echo $?; scp -O \"web:$R/a\" .",
    "scp tree \"web:$R/d\"; echo $?; scp -O tree \"web:$R/d\"",
    "scp \"web:$R/a/d1/f*1\" back-a; echo $?; scp -O \"web:$R/a/d1/f*1\" back-b",
    "scp \"tree/d0/a b\" \"tree/d0/it's\" \"web:$R/a/empty\"; scp \"web:$R/a/empty/a b\" copy",
    "scp -O \"tree/d0/a b\" \"web:$R/b/empty\"; scp -O \"web:'$R/b/empty/a b'\" copy-O",
    "scp -3 \"web:$R/a/large\" \"web:$R/third\"; echo $?; scp -3 \"web:$R/missing\" \"web:$R/third\"",
    "scp tree/d4/f24 \"web:$R/a/large/below\"; echo $?; scp -O tree/d4/f24 \"web:$R/a/large/below\"",
    "scp -r \"web:$R/a/dangling\" x; echo $?; scp -Or \"web:$R/b/dangling\" x",
    "scp -l 800000 tree/large \"web:$R/slowly\"; scp -D sftp-missing tree/d1/f1 \"web:$R/x\"",
    "scp -C tree/d1/f31 \"web:$R/compressed\"; scp /dev/null \"web:$R/nothing\"",
    "scp tree/d1/f1 tree/d1/f11 \"web:$R/large\"; echo $?; scp -O tree/d1/f1 tree/d1/f11 \"web:$R/large\"",
];

const SFTP: &[&str] = &[
    "printf 'put -r tree %s/a\\n' \"$R\" | sftp -b - web",
    "printf 'put -pr tree %s/p\\nget -pr %s/p back\\n' \"$R\" \"$R\" | sftp -b - web",
    "printf 'cd %s\\nmkdir m\\nmkdir m\\nls m\\n' \"$R\" | sftp -b - web",
    "printf 'cd %s\\n-mkdir m\\nls -1 a\\npwd\\nrm nothing\\nls a\\n' \"$R\" | sftp -b - web",
    "printf 'cd %s\\n-rm nothing\\nrename a/d1/f1 a/renamed\\nrename a/nothing x\\n' \"$R\" | sftp -b - web",
    "printf 'cd %s\\nln a/d1/f11 hard\\nln -s a/d1/f21 soft\\nchmod 600 hard\\nls -1\\n' \"$R\" | sftp -b - web",
    "printf 'cd %s\\nrmdir a/d1\\n' \"$R\" | sftp -b - web",
    "printf 'cd %s\\nmkdir gone\\nrmdir gone\\nrm a/d2/*2\\nls -1 a/d2\\nls -a1 a/d0\\n' \"$R\" | sftp -b - web",
    "printf 'get %s/nothing\\n' \"$R\" | sftp -b - web; sftp \"web:$R/nothing\"; sftp -q \"web:$R/a/large\" fetched",
    "head -c 1000000 tree/large >part; printf 'reget %s/a/large part\\nreput part %s/a/large\\n' \"$R\" \"$R\" | sftp -b - web",
    "head -c 1000000 tree/large >half; printf 'cd %s\\nput half\\nreput tree/large half\\n' \"$R\" | sftp -b - web",
    "printf 'put -f tree/large %s/synced\\nlls\\nlpwd\\n!exit 3\\n' \"$R\" | sftp -b - web",
    "printf 'get \"%s/a/d0/a b\" copy\\nget %s/a/d3/* .\\nget -R %s/a/empty e\\n' \"$R\" \"$R\" \"$R\" | sftp -b - web",
    "printf 'cp %s/a/large %s/copied\\n' \"$R\" \"$R\" | sftp -b - web",
    "sftp -B 1000 -R 3 -b <(printf 'get %s/a/d9/f9 small\\n' \"$R\") web; sftp -B 200000 \"web:$R/a/large\" wide",
    "printf 'no-such-command\\n' | sftp -b - web; printf 'version\\nhelp\\nbye\\nrm x\\n' | sftp -b - web",
];

const RSYNC: &[&str] = &[
    "rsync -a tree/ \"web:$R/a/\"",
    "rsync -aHzi tree/ \"web:$R/b/\"",
    "rsync -aHv tree \"web:$R/c\"",
    "rsync -aHi \"web:$R/b/\" back/",
    "rsync -rlti \"web:$R/b/d0\" \"web:$R/b/d1/f1\" some/",
    "echo changed >tree/d1/f1; touch -d 2016-01-01 tree/d1/f1; rm tree/d2/f2; rsync -ain --delete tree/ \"web:$R/a/\"; rsync -ai --delete tree/ \"web:$R/a/\"",
    "rm -r tree/d5; rsync -ai --delete-before --max-delete=3 tree/ \"web:$R/b/\"; echo $?; rsync -a --delete-after --del tree/ \"web:$R/b/\"",
    "rsync -ain --delete \"web:$R/c/tree/\" back/; rsync -a --delete-excluded --exclude=large \"web:$R/c/tree/\" back/",
    "rsync -a \"web:$R/missing\" x",
    "rsync -a missing tree/d1/f1 \"web:$R/d/\"",
    "mkdir -p \"$R/e/f1/below\"; rsync -a tree/d1/f1 \"web:$R/e/\"; echo $?; rsync -a --force --delete tree/d1/f1 \"web:$R/e/\"",
    "head -c 4000000 tree/large >large; echo more >>large; touch -d 2016-01-02 large; rsync -i --no-whole-file large \"web:$R/a/large\"; rsync -ciI --inplace large \"web:$R/a/large\"",
    "head -c 100000 large >short; touch -d 2016-01-03 short; rsync -a short \"web:$R/grows\"; cp large short; touch -d 2016-01-04 short; rsync -a --append-verify short \"web:$R/grows\"",
    "printf 'd1/f11\\nd3/f3\\nmissing\\n' | rsync -a --files-from=- tree \"web:$R/listed\"",
    "printf 'd1/f11\\nd3/f3\\n' >list; rsync -a --files-from=list \"web:$R/a\" listed; rsync -aR tree/./d4/f4 \"web:$R/relative\"",
    "rsync -a --files-from=\":$R/a/d9/f9\" web:/ listed",
    "rsync -a --exclude='f*1' --include='*/' --filter='-! */' tree/ \"web:$R/filtered/\"",
    "rsync -ab --suffix=.old --backup-dir=olds tree/d1/f1 large \"web:$R/a/\"; rsync -ab large \"web:$R/grows\"",
    "rsync -a --chmod=D711,F640 --no-t tree/d7 \"web:$R/modes\"; rsync -aL tree/to-directory tree/link \"web:$R/modes\"",
    "rsync -aL tree/dangling \"web:$R/modes\"; echo $?; rsync -r tree/link \"web:$R/modes\"",
    "rsync -a --remove-source-files tree/d8 \"web:$R/moved\"; rsync -a --remove-source-files \"web:$R/moved/d8\" tree",
    "rsync -as \"web:$R/a/d0/a b\" \"web:$R/a/d0/it's\" secluded/; rsync -a \"web:$R/a/d0/*\" globbed/",
    "rsync --old-args -a \"web:$R/a/d0/a*\" old/; rsync -a --rsync-path='nice rsync' tree/d9 \"web:$R/nice\"",
    "rsync -a --rsync-path=/no/such tree/d9 \"web:$R/x\" 2>&1 | head -n 1; rsync -a --rsync-path=false tree/d9 \"web:$R/x\" 2>&1 | head -n 1",
    "rsync -a --protocol=30 tree/d9 \"web:$R/thirty\"; rsync -a --checksum-choice=md5 --compress-choice=zlib -z tree/d7 \"web:$R/zlib\"",
    "rsync -a --bwlimit=50000 --timeout=20 --partial --partial-dir=.part tree/large \"web:$R/limited\"; rsync -aS --sparse large \"web:$R/sparse\"",
    "rsync -aXAUN --fake-super tree/d9 \"web:$R/faked\" 2>&1 | tail -n 2; rsync -a --link-dest=\"$R/a/d9\" tree/d9/ \"web:$R/linked/\"",
    "rsync -a --copy-dest=../a --compare-dest=../b tree/d6 \"web:$R/dest\"; rsync -a --mkpath tree/d6/f6 \"web:$R/x/y/z/\"",
    "rsync -ai --existing tree/ \"web:$R/c/tree\"; rsync -ai --ignore-existing tree/d1/ \"web:$R/c/tree/d1\"; rsync -aiu \"web:$R/c/tree/d1/\" tree/d1",
    "mkfifo fifo; rsync -aD fifo \"web:$R/fifo\"; rsync -r fifo \"web:$R/no-fifo\"; rm fifo",
    "rsync -a --stop-after=1 --usermap=0:1 --groupmap=0:1 tree/d9 \"web:$R/mapped\"; rsync -a -e 'ssh -T -o ServerAliveInterval=5' tree/d9 \"web:$R/shell\"",
];

/// Each begins with what is usual for `git` here.
const GIT: &[&str] = &[
    "ssh web \"git init -q --bare -b main $R/p.git\"; git clone ssh://web$R/p.git one",
    "cd one && cp ../tree/d1/* . && git add . && git commit -qm first && git tag light && git tag -a heavy -m 'a tag' && git push -u origin main",
    "cd one && git push --tags && git ls-remote && git ls-remote --exit-code origin nothing",
    "git clone \"web:$R/p.git\" two && git -C two log --oneline --decorate && git -C two tag",
    "cd two && cp -r ../tree/d2 ../tree/large . && git add . && git commit -qm second && git push",
    "cd one && echo other >other && git add . && git commit -qm third && git push; echo $?",
    "cd one && git fetch && git status -sb && git pull --rebase && git push && git log --oneline --graph",
    "cd two && git pull && git reset -q --hard HEAD~1 && git commit -q --allow-empty -m aside && git push; echo $?; git push --force",
    "cd one && git fetch && git reset -q --hard origin/main && git checkout -qb topic && git commit -q --allow-empty -m topic && git push origin topic && git push origin --delete topic; git push origin --delete topic",
    "git clone --depth 1 ssh://web$R/p.git shallow && git -C shallow log --oneline && git -C shallow fetch --unshallow && git -C shallow log --oneline",
    "git clone --branch heavy ssh://web$R/p.git tagged && git -C tagged describe; git clone --branch nothing ssh://web$R/p.git nothing",
    "git clone --mirror ssh://web$R/p.git mirror.git && git -C mirror.git show-ref",
    "git clone ssh://web$R/missing.git; echo $?; git clone \"web:$R/large\"; git clone -q ssh://web~/nothing.git",
    "for version in 0 1 2; do git -c protocol.version=$version ls-remote ssh://web$R/p.git; git -c protocol.version=$version clone -q ssh://web$R/p.git v$version && git -C v$version rev-parse HEAD; done",
    "git archive --remote=ssh://web$R/p.git heavy | tar t",
    "git -C \"$R/p.git\" config uploadpack.allowFilter true; git clone -q --filter=blob:none --no-checkout ssh://web$R/p.git partial && git -C partial count-objects -v | grep in-pack && git -C partial checkout -q main && git -C partial fsck",
    "printf '#!/bin/sh\\necho not today >&2\\nexit 1\\n' >\"$R/p.git/hooks/pre-receive\"; chmod +x \"$R/p.git/hooks/pre-receive\"; cd one && git commit -q --allow-empty -m fourth && git push; echo $?; rm \"$R/p.git/hooks/pre-receive\"",
    "printf '#!/bin/sh\\necho updated \"$@\"\\n' >\"$R/p.git/hooks/post-update\"; chmod +x \"$R/p.git/hooks/post-update\"; cd one && git push --atomic origin topic:main topic:new; echo $?",
    "cd one && git push --dry-run origin topic:newer && git push -o option origin topic; git push --porcelain origin topic:main",
    "cd one && git fetch --prune --tags --verbose && git remote show origin && git remote update",
    "git clone -q --upload-pack='nice git-upload-pack' ssh://web$R/p.git nice && git -C nice push --receive-pack=/no/such",
    "git clone -q --bare --single-branch -j 4 --no-tags ssh://web$R/p.git single.git; git -C single.git show-ref; git -C single.git fsck",
    "git -C \"$R\" init -q -b main whole; cd one && git push ssh://web$R/whole topic:main; echo $?",
    "git clone -q --recurse-submodules ssh://web$R/p.git sub && git -C sub -c protocol.file.allow=always submodule add -q ssh://web$R/p.git inside && git -C sub submodule status; cat sub/.gitmodules; rm sub/.gitmodules",
];

/// Without how fast something went, and how much `rsync` says to itself: lists of files go in as many parts as there is
/// time for.
fn speedless(text: &str) -> String {
    let is_number = |word: &str| word.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | ','));
    let mut words: Vec<&str> = text.split_inclusive([' ', '\n']).collect();
    for at in 1..words.len() {
        if matches!(words[at - 1], "sent " | "received ") && is_number(words[at].trim_end()) {
            words[at] = "N ";
        }
        let rate = words[at].trim_end().trim_end_matches(',');
        if matches!(rate, "bytes/sec" | "bytes/s" | "KiB/s" | "MiB/s" | "GiB/s")
            && is_number(words[at - 1].trim_end())
        {
            words[at - 1] = "N ";
            words[at] = if words[at].ends_with('\n') { "per second\n" } else { "per second " };
        }
    }
    words.concat()
}

fn compare(what: &str, programs: &[&str], (before, scripts): (&str, &[&str])) {
    let Some(mut alike) = Alike::start(programs) else { return };
    alike.prepare(|machine| put_tree(&machine.join("local/tree")));
    for script in scripts {
        alike.run(&format!("{before}{script}"), speedless);
    }
    alike.end(what);
}

#[test]
fn ssh_works_as_directly() {
    compare("ssh", &["ssh"], ("", SSH));
}

#[test]
fn scp_works_as_directly_in_both_protocols() {
    compare("scp", &["scp"], ("", SCP));
}

#[test]
fn sftp_works_as_directly() {
    compare("sftp", &["sftp"], ("", SFTP));
}

#[test]
fn rsync_works_as_directly() {
    compare("rsync", &["rsync"], ("", RSYNC));
}

#[test]
fn git_works_as_directly() {
    let before = "export GIT_CONFIG_COUNT=2 GIT_CONFIG_KEY_0=init.defaultBranch GIT_CONFIG_VALUE_0=main \
                  GIT_CONFIG_KEY_1=advice.detachedHead GIT_CONFIG_VALUE_1=false GIT_AUTHOR_DATE=@1500000000 \
                  GIT_COMMITTER_DATE=@1500000000 GIT_AUTHOR_NAME=Bot GIT_AUTHOR_EMAIL=bot@example.com \
                  GIT_COMMITTER_NAME=Bot GIT_COMMITTER_EMAIL=bot@example.com\n";
    compare("git", &["git"], (before, GIT));
}
