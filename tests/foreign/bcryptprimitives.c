/* Wine 8 has no bcryptprimitives.dll, which Rust's standard library asks for random bytes. This one asks another part of
   Wine, and is for tests under Wine alone: Windows has its own. */
#include <windows.h>
#include <ntsecapi.h>

__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE data, SIZE_T length)
{
    return RtlGenRandom(data, (ULONG)length);
}
