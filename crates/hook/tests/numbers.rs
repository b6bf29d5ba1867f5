//! The tables of numbers are those of the kernel's headers.

use hotpatch_hook::{Errno, nr};
use linux_raw_sys::{errno, general};

#[test]
fn numbers_are_the_kernels() {
    assert_eq!(nr::READ, general::__NR_read);
    assert_eq!(nr::OPENAT, general::__NR_openat);
    assert_eq!(nr::CLONE3, general::__NR_clone3);
    assert_eq!(nr::IO_URING_SETUP, general::__NR_io_uring_setup);
    assert_eq!(nr::FILE_SETATTR, general::__NR_file_setattr);
    assert_eq!(nr::name(general::__NR_rt_sigreturn), Some("rt_sigreturn"));
    assert_eq!(nr::name(general::__NR_futex_waitv), Some("futex_waitv"));
    for (errno, name) in [
        (errno::EAGAIN, "EAGAIN"),
        (errno::ECONNREFUSED, "ECONNREFUSED"),
        (errno::EOPNOTSUPP, "EOPNOTSUPP"),
        (errno::EHWPOISON, "EHWPOISON"),
    ] {
        assert_eq!(Errno::new(errno as u16).unwrap().name(), Some(name));
    }
}

#[test]
fn an_errno_is_what_the_kernel_leaves_in_rax() {
    assert_eq!(Errno::new(0), None);
    assert_eq!(Errno::new(4096), None);
    for number in 1..=4095 {
        let errno = Errno::new(number).unwrap();
        assert_eq!(Errno::from_result(errno.to_result()), Err(errno));
    }
    for rax in [0, 1, u64::MAX - 4095, 1 << 63] {
        assert_eq!(Errno::from_result(rax), Ok(rax));
    }
}
