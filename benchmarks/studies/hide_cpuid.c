// Hides instruction sets of this x86-64 processor from the process that preloads it, so that a library selects its kernels
// for an older processor. Linux can disable the CPUID instruction in a process (arch_prctl(2), ARCH_SET_CPUID). Each use then
// raises SIGSEGV, and the handler here returns leaf 7 without the hidden bits.
//
//     cc -shared -fPIC -O1 -o hide_cpuid.so hide_cpuid.c
//     HIDE_CPUID=EBX,ECX,EDX,EAX1 LD_PRELOAD=./hide_cpuid.so program     (hexadecimal masks; EAX1 is of subleaf 1)
//
// Exit code 99: this processor or kernel does not support it.
#define _GNU_SOURCE
#include <asm/prctl.h>
#include <cpuid.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

static uint32_t hidden_ebx, hidden_ecx, hidden_edx, hidden_eax1;

static void answer(int signal_number, siginfo_t *info, void *context) {
    (void)info;
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    const unsigned char *code = (const unsigned char *)registers[REG_RIP];
    if (code[0] != 0x0f || code[1] != 0xa2) {  // not CPUID but a real fault: let it happen again, unhandled
        signal(signal_number, SIG_DFL);
        return;
    }
    uint32_t leaf = registers[REG_RAX], subleaf = registers[REG_RCX], eax, ebx, ecx, edx;
    syscall(SYS_arch_prctl, ARCH_SET_CPUID, 1);
    __cpuid_count(leaf, subleaf, eax, ebx, ecx, edx);
    syscall(SYS_arch_prctl, ARCH_SET_CPUID, 0);
    if (leaf == 7 && subleaf == 0) {
        ebx &= ~hidden_ebx;
        ecx &= ~hidden_ecx;
        edx &= ~hidden_edx;
    } else if (leaf == 7 && subleaf == 1) {
        eax &= ~hidden_eax1;
    }
    registers[REG_RAX] = eax;
    registers[REG_RBX] = ebx;
    registers[REG_RCX] = ecx;
    registers[REG_RDX] = edx;
    registers[REG_RIP] += 2;
}

__attribute__((constructor)) static void start(void) {
    const char *masks = getenv("HIDE_CPUID");
    if (masks == NULL) return;
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = answer;
    action.sa_flags = SA_SIGINFO | SA_NODEFER;
    if (sscanf(masks, "%x,%x,%x,%x", &hidden_ebx, &hidden_ecx, &hidden_edx, &hidden_eax1) != 4 ||
        sigaction(SIGSEGV, &action, NULL) || syscall(SYS_arch_prctl, ARCH_SET_CPUID, 0))
        _exit(99);
}
