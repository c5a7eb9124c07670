/* A stand-in for a Feldera pipeline, with a known answer: two workers that divide their CPU time between three
 * functions, join 50 %, aggregate 30 %, parse 20 %, whatever the machine's speed or load; a web server thread that
 * uses little; and, on every ordinal but 0, a thread and a function that name the ordinal.
 *
 * DEMO_LOAD   share of one CPU each worker uses, in percent (default 40)
 * DEMO_IDLE   number of further threads, which only wait (default 0)
 * POD_NAME    its trailing number is the ordinal (default: the host's name)
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define WORKERS 2
#define SLICE_NS 1000000L
#define ASIDE_PERCENT 3
#define HOT __attribute__((noinline, noclone))

static volatile uint64_t sink;
static long load_percent = 40;
static long ordinal;

static int64_t now_ns(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec * 1000000000L + t.tv_nsec;
}

/* The work is inside each hot function itself, differently written so that none is folded into another. The clock is
 * read once per 100,000 rounds (some 100 us), so that its own cost is lost in the function's. */
#define BURN(until, step)                                            \
    uint64_t x = sink | 1;                                           \
    do {                                                             \
        for (int i = 0; i < 100000; i++) { step; }                    \
        sink = x;                                                    \
    } while (now_ns(CLOCK_THREAD_CPUTIME_ID) < (until))

HOT static void join(int64_t until) { BURN(until, x ^= x << 13; x ^= x >> 7; x ^= x << 17); }
HOT static void aggregate(int64_t until) { BURN(until, x = x * 6364136223846793005UL + 1442695040888963407UL); }
HOT static void parse(int64_t until) { BURN(until, x = (x >> 1) ^ (-(x & 1) & 0xd800000000000000UL)); }
HOT static void serve_http(int64_t until) { BURN(until, x = (x << 5 | x >> 59) * 31); }
HOT static void ordinal_1_marker(int64_t until) { BURN(until, x = x * 2862933555777941757UL + (uint64_t)ordinal); }

static void sleep_ns(int64_t ns) {
    if (ns > 0) nanosleep(&(struct timespec){.tv_sec = ns / 1000000000L, .tv_nsec = ns % 1000000000L}, NULL);
}

/* Sleep so long that `used` CPU time stays at `percent` of the time since `began`. A thread that fell behind does not
 * catch up by a burst: the debt is forgotten after one slice. */
static void pace(int64_t *began, int64_t *used, int64_t slice, long percent) {
    *used += slice;
    int64_t ahead = *used * 100 / percent - (now_ns(CLOCK_MONOTONIC) - *began);
    if (ahead < -10 * SLICE_NS) *began -= ahead;
    sleep_ns(ahead);
}

static void *work(void *name) {
    static void (*const functions[])(int64_t) = {join, aggregate, parse};
    static const int64_t share[] = {50, 30, 20};
    int64_t spent[] = {0, 0, 0}, began = now_ns(CLOCK_MONOTONIC), used = 0;
    pthread_setname_np(pthread_self(), name);
    for (;;) {
        /* the one most behind its share comes next */
        int next = 0;
        for (int i = 1; i < 3; i++)
            if (spent[i] * share[next] < spent[next] * share[i]) next = i;
        int64_t start = now_ns(CLOCK_THREAD_CPUTIME_ID);
        functions[next](start + SLICE_NS);
        int64_t slice = now_ns(CLOCK_THREAD_CPUTIME_ID) - start;
        spent[next] += slice;
        pace(&began, &used, slice, load_percent);
    }
    return NULL;
}

/* A thread that uses little, all of it in one function. */
struct aside {
    char name[16];
    void (*function)(int64_t);
};

static void *idle_along(void *argument) {
    const struct aside *aside = argument;
    int64_t began = now_ns(CLOCK_MONOTONIC), used = 0;
    pthread_setname_np(pthread_self(), aside->name);
    for (;;) {
        int64_t start = now_ns(CLOCK_THREAD_CPUTIME_ID);
        aside->function(start + SLICE_NS);
        pace(&began, &used, now_ns(CLOCK_THREAD_CPUTIME_ID) - start, ASIDE_PERCENT);
    }
    return NULL;
}

static void *wait_forever(void *unused) {
    for (;;) pause();
    return unused;
}

static long find_ordinal(void) {
    static char host[256];
    gethostname(host, sizeof host - 1);
    const char *name = getenv("POD_NAME") ? getenv("POD_NAME") : host;
    const char *dash = strrchr(name, '-');
    return dash ? strtol(dash + 1, NULL, 10) : 0;
}

static void start(void *(*run)(void *), void *argument) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, run, argument)) {
        perror("pthread_create");
        exit(1);
    }
}

int main(void) {
    static char names[WORKERS][16];
    static struct aside server = {"http-server", serve_http}, marker = {"", ordinal_1_marker};
    sigset_t ends;
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    pthread_sigmask(SIG_BLOCK, &ends, NULL);
    if (getenv("DEMO_LOAD")) load_percent = strtol(getenv("DEMO_LOAD"), NULL, 10);
    if (load_percent < 1 || load_percent > 100) {
        fprintf(stderr, "DEMO_LOAD must be 1 to 100\n");
        return 2;
    }
    long idle = getenv("DEMO_IDLE") ? strtol(getenv("DEMO_IDLE"), NULL, 10) : 0;
    if (idle < 0 || idle > 1000) {
        fprintf(stderr, "DEMO_IDLE must be 0 to 1000\n");
        return 2;
    }
    ordinal = find_ordinal();
    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("pipeline: ordinal %ld, %d workers at %ld %% of a CPU each: join 50 %%, aggregate 30 %%, parse 20 %%; "
           "http-server: serve_http, %d %% of a CPU\n", ordinal, WORKERS, load_percent, ASIDE_PERCENT);
    for (int i = 0; i < WORKERS; i++) {
        snprintf(names[i], sizeof names[i], "dbsp-worker-%d", i);
        start(work, names[i]);
    }
    start(idle_along, &server);
    if (ordinal > 0) {
        snprintf(marker.name, sizeof marker.name, "ordinal-%ld", ordinal % 1000);
        start(idle_along, &marker);
    }
    for (long i = 0; i < idle; i++) start(wait_forever, NULL);
    int got;
    sigwait(&ends, &got);
    printf("pipeline: ended by signal %d\n", got);
    return 0;
}
