//! Lends the file of rings to traced programs that cannot open it below `/proc`: in another root or mount namespace.
//!
//! They find a socket that has no place in any file system, and say what only traced programs know.

use std::io::{self, IoSlice, Read as _};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::sync::Arc;
use std::time::Duration;

use hotpatch_events::{Asks, LENDER};
use nix::sys::socket::sockopt::PeerCredentials;
use nix::sys::socket::{ControlMessage, MsgFlags, getsockopt, sendmsg};

/// Who says nothing is not waited for.
const PATIENCE: Duration = Duration::from_secs(1);

/// The socket, and what has to be known.
#[derive(Debug)]
pub struct Lender {
    listener: UnixListener,
    name: String,
    token: u64,
}

impl Lender {
    /// A socket that nobody knows yet.
    pub fn new() -> io::Result<Self> {
        let mut random = [0u8; 16];
        std::fs::File::open("/dev/urandom")?.read_exact(&mut random)?;
        let [name, token] = [0, 8].map(|at| {
            let word = random[at..].first_chunk().copied();
            u64::from_le_bytes(word.unwrap_or_default())
        });
        let name = format!("hotpatch-{name:016x}");
        let address = SocketAddr::from_abstract_name(&name)?;
        Ok(Self {
            listener: UnixListener::bind_addr(&address)?,
            name,
            token,
        })
    }

    /// What stands behind the file's path for traced programs.
    pub fn hint(&self) -> String {
        format!("{LENDER}{:016x}{}", self.token, self.name)
    }

    /// Lends `file` to who asks, as long as this process lives.
    pub fn serve(self, file: Arc<impl AsFd + Send + Sync + 'static>) {
        std::thread::spawn(move || {
            for asker in self.listener.incoming().flatten() {
                let _ = self.answer(asker, file.as_fd());
            }
        });
    }

    fn answer(&self, mut asker: UnixStream, file: BorrowedFd<'_>) -> io::Result<()> {
        let who = getsockopt(&asker, PeerCredentials)?;
        asker.set_read_timeout(Some(PATIENCE))?;
        let mut asks = [0; size_of::<Asks>()];
        asker.read_exact(&mut asks)?;
        let asks = Asks::of(asks);
        // Another user may not see what is told of this one's programs. Who counts processes from another one on cannot be
        // told apart from others.
        let is_ours = asks.token == self.token
            && who.uid() == nix::unistd::geteuid().as_raw()
            && i64::from(who.pid()) == i64::from(asks.pid);
        if is_ours {
            let rights = [file.as_raw_fd()];
            let rights = [ControlMessage::ScmRights(&rights)];
            let byte = [IoSlice::new(b"!")];
            sendmsg::<()>(
                asker.as_raw_fd(),
                &byte,
                &rights,
                MsgFlags::MSG_NOSIGNAL,
                None,
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::CommandExt as _;
    use std::process::Command;

    /// Asks as its arguments say, and prints what is in the file that it gets.
    const ASKS: &str = r#"
import os, socket, struct, sys
name, token, pid = sys.argv[1], int(sys.argv[2]), os.getpid() + int(sys.argv[3])
s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
s.connect("\0" + name)
s.send(struct.pack("QQ", token, pid))
try:
    _, files, _, _ = socket.recv_fds(s, 1, 1)
    print(os.pread(files[0], 9, 0).decode() if files else "nothing")
except ConnectionResetError:
    print("nothing")
"#;

    #[test]
    fn lends_to_this_users_programs_that_know_the_token() {
        let lender = Lender::new().unwrap();
        let (name, token) = (lender.name.clone(), lender.token);
        assert_eq!(lender.hint(), format!("@{token:016x}{name}"));
        let file = tempfile::tempfile().unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, b"the rings", 0).unwrap();
        lender.serve(Arc::new(file));
        let asks = |token: u64, pid: &str, user: Option<u32>| {
            let mut python = Command::new("/usr/bin/python3");
            python.args(["-c", ASKS, &name, &token.to_string(), pid]);
            if let Some(user) = user {
                python.uid(user).gid(user);
            }
            let output = python.output().unwrap();
            String::from_utf8(output.stdout).unwrap()
        };
        assert_eq!(asks(token, "0", None), "the rings\n");
        assert_eq!(asks(token ^ 1, "0", None), "nothing\n");
        // As from another process namespace.
        assert_eq!(asks(token, "1", None), "nothing\n");
        if nix::unistd::geteuid().is_root() {
            assert_eq!(asks(token, "0", Some(54321)), "nothing\n");
        }
        assert_eq!(asks(token, "0", None), "the rings\n");
    }
}
