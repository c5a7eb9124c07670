#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
static volatile uint64_t sink;
static inline __attribute__((always_inline)) uint64_t mix(uint64_t x){ for(int i=0;i<50;i++) x^=x<<13,x^=x>>7,x^=x<<17; return x; }
__attribute__((noinline)) uint64_t hash_rows(uint64_t n){ uint64_t h=n; for(int i=0;i<2000;i++) h+=mix(h+i); return h; }
__attribute__((noinline)) uint64_t sort_batch(uint64_t n){ static __thread uint64_t a[4096]; for(int i=0;i<4096;i++) a[i]=mix(n+i)%9973; for(int g=2048;g;g/=2) for(int i=g;i<4096;i++){ uint64_t v=a[i]; int j=i; while(j>=g&&a[j-g]>v){a[j]=a[j-g]; j-=g;} a[j]=v;} return a[17]; }
__attribute__((noinline)) uint64_t descend(int d){ if(d==0) return hash_rows(d); uint64_t r=descend(d-1); return r+mix(r); }
__attribute__((noinline)) uint64_t step(uint64_t i){ return hash_rows(i)+sort_batch(i)+descend(6); }
static inline __attribute__((always_inline)) uint64_t loop_body(uint64_t i){ return step(i) + 1; }
void *worker(void*p){ uint64_t i=(uint64_t)p; for(;;) sink+=loop_body(i++); }
int main(){ pthread_t t; for(long k=0;k<2;k++){ pthread_create(&t,0,worker,(void*)k); char n[16]="worker-0"; n[7]+=k; pthread_setname_np(t,n);} for(;;){ sink+=hash_rows(sink); usleep(20000);} }
