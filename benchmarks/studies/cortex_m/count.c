/* Prints how many ticks of SysTick one call takes. Under QEMU's -icount shift=0 an instruction takes 1 ns, and the clock of
 * the mps2 boards ticks every 40 ns: 40 instructions a tick. */

#include MODEL_HEADER

#include <stdio.h>

#define SYSTICK ((volatile uint32_t *)0xE000E010u) /* control, reload, current value */

static uint8_t image[MODEL_PIXELS];
static float logits[MODEL_CLASSES];

int main(void)
{
    for (int i = 0; i < MODEL_PIXELS; i++) {
        image[i] = (uint8_t)(i % 251);
    }
    SYSTICK[1] = 0xFFFFFFu;
    SYSTICK[2] = 0u;
    SYSTICK[0] = 5u;
    const uint32_t before = SYSTICK[2];
    MODEL_CLASSIFY(image, logits);
    printf("%lu\n", (unsigned long)((before - SYSTICK[2]) & 0xFFFFFFu));
    return 0;
}
