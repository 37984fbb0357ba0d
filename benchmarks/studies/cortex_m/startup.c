/* Vector table and start of the boards that QEMU emulates with semihosting: mps2-an385 and mps2-an386. */

#include <stdint.h>

extern uint32_t stack_top, data_start, data_end, data_load, bss_start, bss_end;
extern int main(void);
extern void initialise_monitor_handles(void); /* newlib's semihosting */
extern void exit(int) __attribute__((noreturn));

void reset(void);
void _init(void);
void _fini(void);
void _init(void) /* newlib calls both around static constructors */
{
}
void _fini(void)
{
}
static void fault(void)
{
    for (;;) {
    }
}

__attribute__((section(".vectors"), used)) static const void *const vectors[16] = {
    &stack_top, (const void *)reset, (const void *)fault, (const void *)fault, (const void *)fault,
    (const void *)fault, (const void *)fault,
};

void reset(void)
{
#if defined(__ARM_FP)
    *(volatile uint32_t *)0xE000ED88u |= 0xFu << 20; /* switches the floating-point unit on */
    __asm__ volatile("dsb\n isb");
#endif
    const uint32_t *from = &data_load;
    for (uint32_t *to = &data_start; to < &data_end;) {
        *to++ = *from++;
    }
    for (uint32_t *to = &bss_start; to < &bss_end;) {
        *to++ = 0;
    }
    initialise_monitor_handles();
    exit(main());
}
