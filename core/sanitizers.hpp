#pragma once

// Private header of the library: not installed.

// MODERATO_ASAN, MODERATO_TSAN: built with that sanitizer.

#if defined(__SANITIZE_ADDRESS__)
#define MODERATO_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define MODERATO_ASAN 1
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define MODERATO_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define MODERATO_TSAN 1
#endif
#endif
