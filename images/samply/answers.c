/* What samply 0.13.1 is told instead of asking the container that it runs in. Linked into it with the linker's --wrap
 * (see link-arguments), so that its source stays as it is. Nothing here grants a right: the kernel stays the judge.
 *
 * - /proc/sys/kernel/perf_event_paranoid isn't there: above 1 samply would give up, though with PERFMON the kernel
 *   lets it use the software clock at any level (mstange/samply #751 removed that from it later).
 * - /proc/self/cgroup isn't there, and the affinity can't be asked: so the CPUs counted are all that are online, not
 *   those of a CPU quota or a cpuset, and no thread of the target is missed since it ran on another CPU.
 * - perf_event_open: samply counts CPUs from 0, here its n-th becomes the n-th that is online; and it takes the result
 *   for the kernel's own, so each error read "Operation not permitted": here it is the error that the kernel gave.
 * - No user database, no resolver, no dlopen: linked statically, they would load libraries that lie in the target's
 *   root, the first two by its nsswitch.conf, into a process that has more rights than the target. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <pwd.h>
#include <sched.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

int __real_open64(const char *path, int flags, ...);
long __real_syscall(long number, ...);

int __wrap_open64(const char *path, int flags, ...) {
    if (!strcmp(path, "/proc/self/cgroup") || !strcmp(path, "/proc/sys/kernel/perf_event_paranoid")) {
        errno = ENOENT;
        return -1;
    }
    va_list rest;
    va_start(rest, flags);
    mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    return __real_open64(path, flags, mode);
}

/* A failure makes num_cpus and Rust's own library ask sysconf, which counts the CPUs that are online. */
int __wrap_sched_getaffinity(pid_t pid, size_t size, cpu_set_t *set) {
    (void)pid, (void)size, (void)set;
    errno = ENOSYS;
    return -1;
}

/* The index-th CPU of a list like "0-3,8"; the index itself if the list is shorter. */
static long find_cpu(const char *list, long index) {
    long before = 0;
    for (char *at = (char *)list; *at >= '0' && *at <= '9'; at += *at == ',') {
        long first = strtol(at, &at, 10), last = *at == '-' ? strtol(at + 1, &at, 10) : first;
        if (index - before <= last - first) return first + index - before;
        before += last - first + 1;
    }
    return index;
}

static const char *read_online_cpus(void) {
    static char list[4096]; /* read once: the target is stopped while the events are opened, all by one thread */
    if (!list[0]) {
        int file = __real_open64("/sys/devices/system/cpu/online", O_RDONLY | O_CLOEXEC);
        if (file >= 0) {
            ssize_t length = read(file, list, sizeof list - 1);
            list[length > 0 ? length : 0] = '\0';
            close(file);
        }
    }
    return list;
}

long __wrap_syscall(long number, ...) {
    long a[6];
    va_list rest;
    va_start(rest, number);
    for (int i = 0; i < 6; i++) a[i] = va_arg(rest, long);
    va_end(rest);
    if (number != SYS_perf_event_open) return __real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
    int cpu = (int)a[2];
    if (cpu >= 0) cpu = (int)find_cpu(read_online_cpus(), cpu);
    long result = __real_syscall(number, a[0], a[1], (long)cpu, a[3], a[4]);
    return result < 0 ? -errno : result;
}

int __wrap_getpwuid_r(uid_t uid, struct passwd *entry, char *buffer, size_t size, struct passwd **found) {
    (void)uid, (void)entry, (void)buffer, (void)size;
    *found = NULL;
    return 0;
}

int __wrap_getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **found) {
    (void)node, (void)service, (void)hints, (void)found;
    return EAI_FAIL;
}

/* Never called, since nothing was found; without it the resolver would still be linked in. */
void __wrap_freeaddrinfo(struct addrinfo *found) { (void)found; }

void *__wrap_dlopen(const char *path, int flags) {
    (void)path, (void)flags;
    return NULL;
}
