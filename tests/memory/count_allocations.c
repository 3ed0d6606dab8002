// Preloaded, it counts what each thread of a process allocates. glibc's own functions do the work.
#define _GNU_SOURCE
#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

enum { kThreads = 256, kLarge = 512 };

static atomic_long g_all[kThreads];
static atomic_long g_large[kThreads];
static atomic_int g_threads;
static __thread int t_number __attribute__((tls_model("initial-exec"))) = -1;

static void count(size_t size) {
  if (t_number < 0) t_number = atomic_fetch_add(&g_threads, 1);
  const int at = t_number < kThreads ? t_number : kThreads - 1;
  atomic_fetch_add_explicit(&g_all[at], 1, memory_order_relaxed);
  if (size >= kLarge) atomic_fetch_add_explicit(&g_large[at], 1, memory_order_relaxed);
}

// Threads that have allocated so far; they are numbered from 0.
int counted_threads(void) { return atomic_load(&g_threads); }
// The number of the thread that asks.
int counted_self(void) {
  free(malloc(1));
  return t_number;
}
long counted_all(int thread) { return atomic_load(&g_all[thread]); }
long counted_large(int thread) { return atomic_load(&g_large[thread]); }

void *malloc(size_t size) {
  count(size);
  return __libc_malloc(size);
}

void *calloc(size_t n, size_t size) {
  count(n * size);
  return __libc_calloc(n, size);
}

void *realloc(void *old, size_t size) {
  count(size);
  return __libc_realloc(old, size);
}

void *memalign(size_t alignment, size_t size) {
  count(size);
  return __libc_memalign(alignment, size);
}

void *aligned_alloc(size_t alignment, size_t size) { return memalign(alignment, size); }

int posix_memalign(void **memory, size_t alignment, size_t size) {
  void *made = memalign(alignment, size);
  if (made == NULL) return ENOMEM;
  *memory = made;
  return 0;
}
