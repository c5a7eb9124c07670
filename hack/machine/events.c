/* events PID COUNT: opens that many sampling events of the software clock on a process, with a ring buffer each, as samply
 * does, and says what the kernel answers: "ok", or what failed and why. */
#include <errno.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int count, char **words) {
    if (count < 3) return 2;
    struct perf_event_attr wanted = {
        .type = PERF_TYPE_SOFTWARE, .size = sizeof wanted, .config = PERF_COUNT_SW_CPU_CLOCK, .freq = 1,
        .sample_freq = 199, .sample_type = PERF_SAMPLE_IP | PERF_SAMPLE_TID,
    };
    for (int i = 0; i < atoi(words[2]); i++) {
        int event = syscall(SYS_perf_event_open, &wanted, atoi(words[1]), -1, -1, 0);
        if (event < 0) return printf("open: %s\n", strerror(errno)), 1;
        if (mmap(NULL, 257 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, event, 0) == MAP_FAILED)
            return printf("mmap: %s\n", strerror(errno)), 1;
    }
    puts("ok");
}
