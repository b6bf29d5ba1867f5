# The 5-byte instruction before the site becomes the jump; the site's own bytes stay.
# tactics: before
    fn f
    mov $39, %eax
    syscall
    ret
    end f
