"""A shared library that answers as NVML does, for machines without a GPU."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

SOURCE = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* GPUs 0 and 1; GPU 1 does not tell its utilization, as one that is divided by MIG. */
static long number(const char *name, long otherwise) {
    const char *told = getenv(name);
    return told ? atol(told) : otherwise;
}
int nvmlInit_v2(void) { return (int)number("MADE_UP_INIT", 0); }
int nvmlDeviceGetCount_v2(unsigned *count) {
    *count = (unsigned)number("MADE_UP_GPUS", 2);
    return 0;
}
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **handle) {
    *handle = (void *)(long)(index + 1);
    return 0;
}
int nvmlDeviceGetUUID(void *handle, char *text, unsigned length) {
    snprintf(text, length, "GPU-%ld", (long)handle);
    return 0;
}
struct utilization { unsigned gpu, memory; };
int nvmlDeviceGetUtilizationRates(void *handle, struct utilization *told) {
    if ((long)handle == 2) return 3;
    told->gpu = 37;
    told->memory = 5;
    return 0;
}
struct memory { unsigned long long total, free, used; };
int nvmlDeviceGetMemoryInfo(void *handle, struct memory *told) {
    told->total = 80000000000ull;
    told->used = 1000000000ull * (unsigned long long)(long)handle;
    told->free = told->total - told->used;
    return 0;
}
static unsigned long long joules;
int nvmlDeviceGetTotalEnergyConsumption(void *handle, unsigned long long *millijoules) {
    joules += 1000;
    *millijoules = joules;
    return 0;
}
"""


def make_nvml(folder: Path) -> Path:
    """Compiles the library under the driver's name; a loud skip without a C compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("NO C COMPILER: what is read from NVML was not tested")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "nvml.c").write_text(SOURCE)
    library = folder / "libnvidia-ml.so.1"
    command = [compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(folder / "nvml.c")]
    subprocess.run(command, check=True, capture_output=True)
    return library
