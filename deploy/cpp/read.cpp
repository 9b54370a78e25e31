// Files to pixels as in recog/images/read.py: upright, 16 bits rounded to 8, with white in place of
// transparency. PNG and JPEG exactly so; BMP, TIFF, WebP and PPM as OpenCV reads them.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <opencv2/imgcodecs.hpp>
#include <opencv2/imgproc.hpp>

#include "images.h"

namespace {

using Bytes = std::vector<uint8_t>;

const uint64_t most_pixels = 64000000;
const uint8_t png_start[] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};

uint32_t number(const Bytes& data, size_t place, int count, bool little = false) {
    uint32_t value = 0;
    for (int i = 0; i < count; ++i) value |= static_cast<uint32_t>(data.at(place + i)) << 8 * (little ? i : count - 1 - i);
    return value;
}

void check_size(uint64_t height, uint64_t width) {
    const std::string size = std::to_string(width) + " x " + std::to_string(height);
    if (!height || !width) throw Unreadable("has size zero (" + size + ")");
    if (height * width > most_pixels) throw Unreadable("has too many pixels (" + size + ", at most 64,000,000)");
}

Bytes load(const std::string& file) {
    if (!std::filesystem::exists(file)) throw Unreadable("does not exist");
    if (std::filesystem::is_directory(file)) throw Unreadable("is a folder; name its files");
    std::ifstream stream(file, std::ios::binary);
    if (!stream) throw Unreadable("cannot be read");
    const Bytes data((std::istreambuf_iterator<char>(stream)), std::istreambuf_iterator<char>());
    if (data.empty()) throw Unreadable("is empty");
    return data;
}

// What we need of the chunks of a PNG; read only if the file is complete.
struct Png {
    uint32_t depth = 0, colour = 0;
    Bytes transparent;  // tRNS
    int turn = 1;       // of EXIF
};

// The orientation in EXIF's first directory; 1 if there is none.
int orientation(const Bytes& data, size_t start, size_t length) {
    try {
        const Bytes tiff(data.begin() + start, data.begin() + start + length);
        const bool little = tiff.at(0) == 'I';
        const size_t directory = number(tiff, 4, 4, little);
        const uint32_t entries = number(tiff, directory, 2, little);
        for (uint32_t i = 0; i < entries; ++i) {
            const size_t entry = directory + 2 + 12 * i;
            if (number(tiff, entry, 2, little) == 0x0112) return static_cast<int>(number(tiff, entry + 8, 2, little));
        }
    } catch (const std::out_of_range&) {
    }
    return 1;
}

Png png_chunks(const Bytes& data) {
    if (data.size() >= 16 && (number(data, 8, 4) != 13 || number(data, 12, 4) != 0x49484452)) {
        throw Unreadable("is broken (no header)");
    }
    Png found;
    size_t place = sizeof png_start;
    for (;;) {
        if (place + 12 > data.size()) throw Unreadable("is truncated");
        const size_t length = number(data, place, 4);
        const std::string kind(data.begin() + place + 4, data.begin() + place + 8);
        if (kind == "IEND" && !length) break;
        if (place + 12 + length > data.size()) throw Unreadable("is truncated");
        const auto content = data.begin() + place + 8;
        if (kind == "tRNS") found.transparent.assign(content, content + length);
        if (kind == "eXIf") found.turn = orientation(data, place + 8, length);
        place += 12 + length;
    }
    check_size(number(data, 20, 4), number(data, 16, 4));
    found.depth = data.at(24);
    found.colour = data.at(25);
    return found;
}

cv::Mat upright(cv::Mat image, int turn) {
    if (turn >= 5 && turn <= 8) cv::transpose(image, image);
    if (turn == 3 || turn == 4 || turn == 7 || turn == 8) cv::flip(image, image, 0);
    if (turn == 2 || turn == 3 || turn == 6 || turn == 7) cv::flip(image, image, 1);
    return image;
}

// 8 bits with alpha, blended with white as Pillow does it.
cv::Mat on_white(const cv::Mat& image) {
    cv::Mat result(image.size(), CV_8UC3);
    for (int y = 0; y < image.rows; ++y) {
        for (int x = 0; x < image.cols; ++x) {
            const cv::Vec4b& pixel = image.at<cv::Vec4b>(y, x);
            for (int channel = 0; channel < 3; ++channel) {
                const uint32_t sum = pixel[channel] * pixel[3] * 128u + 255u * (255u - pixel[3]) * 128u + (128u << 7);
                result.at<cv::Vec3b>(y, x)[channel] = static_cast<uint8_t>((((sum >> 8) + sum) >> 8) >> 7);
            }
        }
    }
    return result;
}

// 16 bits to 8; a fourth channel is alpha, blended with white.
cv::Mat eight_bits(const cv::Mat& image) {
    cv::Mat result(image.size(), CV_8UC3);
    const int channels = image.channels();
    for (int y = 0; y < image.rows; ++y) {
        const uint16_t* row = image.ptr<uint16_t>(y);
        for (int x = 0; x < image.cols; ++x) {
            for (int channel = 0; channel < 3; ++channel) {
                float level = row[x * channels + (channels == 1 ? 0 : channel)] / 257.0f;
                if (channels == 4) {
                    const float opaque = row[x * channels + 3] / 257.0f / 255.0f;
                    level = level * opaque + 255.0f * (1.0f - opaque);
                }
                result.at<cv::Vec3b>(y, x)[channel] = static_cast<uint8_t>(std::nearbyint(level));
            }
        }
    }
    return result;
}

cv::Mat decoded(const Bytes& data, int how) {
    cv::Mat image;
    try {
        image = cv::imdecode(data, how);
    } catch (const cv::Exception&) {  // thrown for sizes that it does not accept
    }
    return image;
}

// For a PNG in which one colour is transparent: its pixels become white.
void blank_key(cv::Mat& image, const Png& png) {
    const int steps = png.colour == 2 ? 3 : 1, scale = 255 / ((1 << png.depth) - 1);
    if (png.transparent.size() < static_cast<size_t>(2 * steps)) return;
    cv::Vec3b key;
    for (int i = 0; i < 3; ++i) key[2 - i] = static_cast<uint8_t>(number(png.transparent, steps == 3 ? 2 * i : 0, 2) * scale);
    cv::Mat same;
    cv::inRange(image, key, key, same);
    image.setTo(cv::Scalar::all(255), same);
}

cv::Mat read_png(const Bytes& data) {
    const Png png = png_chunks(data);
    const bool palette = png.colour == 3, alpha = png.colour == 4 || png.colour == 6;
    const bool whole = png.depth == 16 || alpha || (palette && !png.transparent.empty());
    cv::Mat image = decoded(data, whole ? cv::IMREAD_UNCHANGED : cv::IMREAD_COLOR);
    if (image.empty()) throw Unreadable("is broken");
    if (png.depth == 16) return upright(eight_bits(image), png.turn);
    if (image.channels() == 4) return upright(on_white(image), png.turn);
    if (!png.transparent.empty()) blank_key(image, png);
    return image;
}

// Checks that a JPEG is complete, because OpenCV silently fills missing parts with grey; then reads it.
cv::Mat read_jpeg(const Bytes& data) {
    size_t place = 2;
    while (place + 10 <= data.size() && data[place] == 0xff) {
        const uint8_t marker = data[place + 1];
        if (marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc) {
            check_size(number(data, place + 5, 2), number(data, place + 7, 2));
            if (data[place + 9] == 4) throw Unreadable("is a JPEG of four colours (CMYK), which this program does not read");
        }
        if (marker == 0xda) break;
        place += marker == 0xff ? 1 : 2 + number(data, place + 2, 2);
    }
    // Within the pixel data ff is followed by 0, so ff d9 is the end.
    const uint8_t end[] = {0xff, 0xd9};
    if (std::search(data.begin() + std::min(place, data.size()), data.end(), end, end + 2) == data.end()) {
        throw Unreadable("is truncated");
    }
    const cv::Mat image = decoded(data, cv::IMREAD_COLOR);
    if (image.empty()) throw Unreadable("is broken");
    return image;
}

}  // namespace

cv::Mat read_image(const std::string& file) {
    const Bytes data = load(file);
    if (data.size() > 8 && std::equal(png_start, png_start + 8, data.begin())) return read_png(data);
    if (data.size() > 2 && data[0] == 0xff && data[1] == 0xd8 && data[2] == 0xff) return read_jpeg(data);
    cv::Mat image = decoded(data, cv::IMREAD_UNCHANGED);
    if (image.empty()) throw Unreadable("is not an image");
    check_size(image.rows, image.cols);
    if (image.channels() == 2) throw Unreadable("has two channels");
    if (image.depth() == CV_16U) return eight_bits(image);
    if (image.depth() != CV_8U) throw Unreadable("has pixels of 32 bits; 8 and 16 can be read");
    if (image.channels() == 4) return on_white(image);
    if (image.channels() == 1) cv::cvtColor(image, image, cv::COLOR_GRAY2BGR);
    return image;
}
