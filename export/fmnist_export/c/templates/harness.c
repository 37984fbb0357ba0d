/* Reads images of 784 bytes from standard input, writes the logits of each to standard output. */

#include MODEL_HEADER

#include <stdio.h>

int main(void)
{
    static uint8_t image[MODEL_PIXELS];
    static float logits[MODEL_CLASSES];
    while (fread(image, 1, sizeof image, stdin) == sizeof image) {
        MODEL_CLASSIFY(image, logits);
        fwrite(logits, sizeof *logits, MODEL_CLASSES, stdout);
    }
    return ferror(stdin) || fflush(stdout);
}
