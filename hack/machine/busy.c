/* busy THREADS MIB: main and as many threads more use all the CPU they get; main first takes that much memory. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static volatile unsigned long turns;

static void __attribute__((noinline)) spin(void) {
    for (unsigned long i = 0; i < 1000000; i++) turns += i;
}

static void *work(void *unused) {
    for (;;) spin();
    return unused;
}

int main(int count, char **words) {
    int threads = count > 1 ? atoi(words[1]) : 0, mib = count > 2 ? atoi(words[2]) : 0;
    for (int i = 0; i < mib; i++) {
        char *piece = malloc(1 << 20);
        if (piece) memset(piece, 1, 1 << 20);
    }
    for (int i = 0; i < threads; i++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, work, NULL)) return 1;
    }
    puts("ready");
    fflush(stdout);
    work(NULL);
}
