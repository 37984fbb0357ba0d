/* Two programs for microcontrollers.py. As a shared library: times calls of the generated C and prepares frames. With LAUNCH: starts a command
 * and prints its wall time in microseconds and its peak memory in KiB; Python itself is too large to fork for that. */

#define _POSIX_C_SOURCE 200809L
#define _DEFAULT_SOURCE

#include <stdint.h>
#include <stdio.h>
#include <time.h>

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e6 + (double)time.tv_nsec * 1e-3;
}

#ifdef LAUNCH
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    if (argc < 2) {
        return 2;
    }
    const double start = now();
    const pid_t child = fork();
    if (child == 0) {
        dup2(open("/dev/null", O_WRONLY), 1);
        execv(argv[1], argv + 1);
        _exit(127);
    }
    int status;
    struct rusage usage;
    wait4(child, &status, 0, &usage);
    printf("%.0f %ld\n", now() - start, usage.ru_maxrss);
    return status != 0;
}
#else
#include MODEL_HEADER
#include "fmnist_prepare.h"

/* Prepares a frame without gaps between its rows. */
int prepare(const uint8_t *pixels, int width, int height, uint8_t *image);

int prepare(const uint8_t *pixels, int width, int height, uint8_t *image)
{
    return fmnist_prepare_grey(pixels, width, height, (size_t)width, image);
}

/* Mean microseconds of a call. */
double mean_call(const uint8_t *image, int calls);

double mean_call(const uint8_t *image, int calls)
{
    float logits[MODEL_CLASSES];
    const double start = now();
    for (int i = 0; i < calls; i++) {
        MODEL_CLASSIFY(image, logits);
    }
    return (now() - start) / calls;
}
#endif
