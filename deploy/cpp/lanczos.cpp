// Pillow's Image.thumbnail(size, LANCZOS) of a grey image, bit for bit. The size keeps the ratio. An image
// that is at least four times too large is first reduced by whole numbers; then comes Lanczos in fixed point
// with 22 fractional bits, horizontally first unless the image is tall.
#include <algorithm>
#include <cmath>
#include <cstdint>

#include "images.h"

namespace {

const double pi = 3.14159265358979323846;
const double support = 3.0;   // of the kernel, in pixels
const int places = 32 - 8 - 2;  // fractional bits of a coefficient
const double gap = 2.0;       // the first reduction leaves an image at least this many times too large

double sinc(double x) {
    if (x == 0.0) return 1.0;
    x *= pi;
    return std::sin(x) / x;
}

double kernel(double x) { return -support <= x && x < support ? sinc(x) * sinc(x / support) : 0.0; }

// The weights, in one pixel of the result, of the pixels from `first` on.
struct Window {
    int first;
    std::vector<int> counts;
};

// The windows that resample the first `end` of `length` pixels to `size`; `end` may lie within a pixel.
std::vector<Window> windows(int length, float end, int size) {
    std::vector<Window> found;
    const double scale = static_cast<double>(end) / size, stretch = std::max(scale, 1.0), reach = support * stretch;
    for (int place = 0; place < size; ++place) {
        const double centre = (place + 0.5) * scale;
        const int first = std::max(static_cast<int>(centre - reach + 0.5), 0);
        const int last = std::min(static_cast<int>(centre + reach + 0.5), length);
        std::vector<double> shares;
        double total = 0.0;
        for (int i = 0; i < last - first; ++i) {
            shares.push_back(kernel((i + first - centre + 0.5) * (1.0 / stretch)));
            total += shares.back();
        }
        Window window{first, {}};
        for (double share : shares) {
            if (total != 0.0) share /= total;
            window.counts.push_back(static_cast<int>((share < 0 ? -0.5 : 0.5) + share * (1 << places)));
        }
        found.push_back(window);
    }
    return found;
}

// The rows of an image, resampled: a horizontal pass.
cv::Mat across(const cv::Mat& image, float end, int size) {
    const std::vector<Window> all = windows(image.cols, end, size);
    cv::Mat result(image.rows, size, CV_8U);
    for (int y = 0; y < image.rows; ++y) {
        const uint8_t* row = image.ptr<uint8_t>(y);
        for (int x = 0; x < size; ++x) {
            int sum = 1 << (places - 1);
            for (size_t i = 0; i < all[x].counts.size(); ++i) sum += row[all[x].first + i] * all[x].counts[i];
            result.at<uint8_t>(y, x) = static_cast<uint8_t>(std::min(std::max(sum >> places, 0), 255));
        }
    }
    return result;
}

cv::Mat turned(const cv::Mat& image) { return image.t(); }

// The mean of each block of `step` pixels; blocks at the right and lower edges may be smaller.
cv::Mat reduced(const cv::Mat& image, cv::Size step) {
    const int rows = (image.rows + step.height - 1) / step.height, columns = (image.cols + step.width - 1) / step.width;
    cv::Mat result(rows, columns, CV_8U);
    for (int y = 0; y < rows; ++y) {
        for (int x = 0; x < columns; ++x) {
            const int below = std::min((y + 1) * step.height, image.rows), right = std::min((x + 1) * step.width, image.cols);
            const uint32_t count = (below - y * step.height) * (right - x * step.width);
            uint32_t sum = count / 2;
            for (int i = y * step.height; i < below; ++i) {
                for (int j = x * step.width; j < right; ++j) sum += image.at<uint8_t>(i, j);
            }
            // Pillow divides by multiplying with 2^24 / count, which is rounded itself.
            const uint32_t factor = static_cast<uint32_t>(4294967296.0f / static_cast<float>(256 * count));
            result.at<uint8_t>(y, x) = static_cast<uint8_t>((sum * factor) >> 24);
        }
    }
    return result;
}

// A side of a thumbnail: rounded down or up, whichever keeps the ratio better.
int side(double exact, double ratio, double other, bool is_width) {
    const auto off = [&](double number) {
        if (is_width) return std::abs(ratio - number / other);
        return number == 0 ? 0.0 : std::abs(ratio - other / number);
    };
    const double low = std::floor(exact), high = std::ceil(exact);
    return std::max(static_cast<int>(off(high) < off(low) ? high : low), 1);
}

}  // namespace

cv::Mat thumbnail(const cv::Mat& grey, cv::Size most) {
    if (most.width >= grey.cols && most.height >= grey.rows) return grey;
    const double ratio = static_cast<double>(grey.cols) / grey.rows;
    cv::Size size = most;
    if (static_cast<double>(most.width) / most.height >= ratio) {
        size.width = side(most.height * ratio, ratio, most.height, true);
    } else {
        size.height = side(most.width / ratio, ratio, most.width, false);
    }
    if (size == grey.size()) return grey;
    const cv::Size step(std::max(static_cast<int>(grey.cols / static_cast<double>(size.width) / gap), 1),
                        std::max(static_cast<int>(grey.rows / static_cast<double>(size.height) / gap), 1));
    const cv::Mat start = step.area() > 1 ? reduced(grey, step) : grey;
    const float right = static_cast<float>(grey.cols / static_cast<double>(step.width));
    const float below = static_cast<float>(grey.rows / static_cast<double>(step.height));
    // A side that keeps its size is not resampled, so that nothing is rounded.
    const bool keeps_width = size.width == start.cols && right == start.cols;
    const bool keeps_height = size.height == start.rows && below == start.rows;
    const auto narrowed = [&](const cv::Mat& image) { return keeps_width ? image : across(image, right, size.width); };
    const auto lowered = [&](const cv::Mat& image) {
        return keeps_height ? image : turned(across(turned(image), below, size.height));
    };
    // As Pillow 13 does; earlier versions always begin with the horizontal pass.
    const bool tall = start.rows - size.height > 2 * (start.cols - size.width);
    return tall ? narrowed(lowered(start)) : lowered(narrowed(start));
}
