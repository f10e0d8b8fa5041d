/* A stand-in for NVIDIA's management library with two H100s, for machines without one: the functions that fleetctl asks,
 * by the signatures of nvml.h. The first GPU is held by the process that the environment variable STUB_HOLDER_FILE's
 * file names, the second by process 1. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct { int at; } *device;
typedef struct { unsigned gpu, memory; } utilization;
typedef struct { unsigned version; unsigned long long total, reserved, free, used; } memory;
typedef struct { unsigned pid; unsigned long long used; unsigned gpu_instance, compute_instance; } process;

static struct { int at; } devices[2] = {{0}, {1}};
#define AT(d) (((struct { int at; } *)(d))->at)

int nvmlInit_v2(void) { return 0; }
int nvmlShutdown(void) { return 0; }
const char *nvmlErrorString(int code) { (void)code; return "an error of the stub"; }
int nvmlSystemGetDriverVersion(char *out, unsigned n) { snprintf(out, n, "580.95.05"); return 0; }
int nvmlSystemGetNVMLVersion(char *out, unsigned n) { snprintf(out, n, "13.580.95.05"); return 0; }
int nvmlDeviceGetCount_v2(unsigned *n) { *n = 2; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned i, void **d) { if (i > 1) return 2; *d = &devices[i]; return 0; }
int nvmlDeviceGetName(void *d, char *out, unsigned n) { (void)d; snprintf(out, n, "NVIDIA H100 80GB HBM3"); return 0; }
int nvmlDeviceGetUtilizationRates(void *d, utilization *u) { u->gpu = AT(d) ? 3 : 87; u->memory = AT(d) ? 0 : 41; return 0; }
int nvmlDeviceGetMemoryInfo_v2(void *d, memory *m) {
    unsigned long long gib = 1ull << 30;
    m->total = 80 * gib; m->reserved = 0; m->used = (AT(d) ? 1 : 71) * gib; m->free = m->total - m->used;
    return 0;
}
int nvmlDeviceGetPowerUsage(void *d, unsigned *mw) { *mw = AT(d) ? 70500 : 612250; return 0; }
int nvmlDeviceGetEnforcedPowerLimit(void *d, unsigned *mw) { (void)d; *mw = 700000; return 0; }
int nvmlDeviceGetTemperature(void *d, int sensor, unsigned *c) { if (sensor != 0) return 2; *c = AT(d) ? 31 : 66; return 0; }
int nvmlDeviceGetComputeRunningProcesses_v3(void *d, unsigned *n, process *all) {
    unsigned pid = 1;
    if (AT(d) == 0) {
        const char *path = getenv("STUB_HOLDER_FILE");
        FILE *from = path ? fopen(path, "r") : NULL;
        int read = from ? fscanf(from, "%u", &pid) : 0;
        if (from) fclose(from);
        if (read != 1) { *n = 0; return 0; }
    }
    if (*n < 1) { *n = 1; return 7; /* the size that is needed */ }
    *n = 1;
    all[0].pid = pid; all[0].used = 70ull << 30; all[0].gpu_instance = all[0].compute_instance = ~0u;
    return 0;
}
