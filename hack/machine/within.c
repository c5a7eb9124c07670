/* within CGROUP CAPABILITIES COMMAND...: runs a command as a container runtime would: in a cgroup that it sees as the root of
 * all (cgroup v2, a cgroup namespace and a mount of its own), and with these capabilities at most (hex, or "all"). */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <unistd.h>

static void fail(const char *what) {
    perror(what);
    exit(125);
}

static void join(const char *group) {
    char path[256];
    snprintf(path, sizeof path, "/sys/fs/cgroup/%s/cgroup.procs", group);
    int file = open(path, O_WRONLY);
    if (file < 0 || write(file, "0", 1) != 1) fail(path);
    close(file);
}

int main(int count, char **words) {
    if (count < 4) return 2;
    join(words[1]);
    if (unshare(CLONE_NEWCGROUP | CLONE_NEWNS)) fail("unshare");
    if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL)) fail("private mounts");
    if (umount2("/sys/fs/cgroup", MNT_DETACH)) fail("umount");
    if (mount("cgroup2", "/sys/fs/cgroup", "cgroup2", 0, NULL)) fail("mount");
    if (strcmp(words[2], "all")) {
        unsigned long long kept = strtoull(words[2], NULL, 16);
        for (int one = 0; one < 64; one++)
            if (!(kept >> one & 1)) prctl(PR_CAPBSET_DROP, one, 0, 0, 0);
    }
    execvp(words[3], words + 3);
    fail(words[3]);
}
