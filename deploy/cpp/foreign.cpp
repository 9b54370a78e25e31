// Images unlike those a model was trained on, changed to the ink and the symbol height of its training
// images: recog/reading/adapt.py.
#include <algorithm>
#include <cmath>
#include <opencv2/imgproc.hpp>

#include "images.h"

namespace {

const int margin = 13;         // pixels around the ink
const double same = 0.5;       // share by which the height of symbols may differ before an image is rescaled
const double binary = 0.9;     // an image with this share of black and white pixels is no photograph
const double smallest = 0.1;   // symbols lower than this share of the highest say nothing of the size

double median(const cv::Mat& grey) {
    std::vector<uint8_t> values(grey.begin<uint8_t>(), grey.end<uint8_t>());
    const size_t middle = values.size() / 2;
    std::nth_element(values.begin(), values.begin() + middle, values.end());
    const double upper = values[middle];
    if (values.size() % 2) return upper;
    return (upper + *std::max_element(values.begin(), values.begin() + middle)) / 2;
}

// A photograph's ink without its paper.
cv::Mat flat(const cv::Mat& ink) {
    const int size = std::max(ink.rows, ink.cols) / 16 * 2 + 1;
    cv::Mat ground, soft, above, unused;
    cv::erode(ink, ground, cv::Mat::ones(size, size, CV_8U));
    cv::GaussianBlur(ground, ground, cv::Size(0, 0), size / 2.0);
    cv::GaussianBlur(ink, soft, cv::Size(0, 0), 0.8);
    cv::subtract(soft, ground, above);
    const double level = cv::threshold(above, unused, 0, 255, cv::THRESH_OTSU);
    cv::Mat result(ink.size(), CV_8U);
    const float slope = static_cast<float>(255 / std::max(level, 1.0)), middle = static_cast<float>(level);
    std::transform(above.begin<uint8_t>(), above.end<uint8_t>(), result.begin<uint8_t>(), [&](uint8_t value) {
        return static_cast<uint8_t>(std::min(std::max((value - middle) * slope + 127.5f, 0.0f), 255.0f));
    });
    return result;
}

// The mean height of the connected pieces of ink, without those that are tiny; 0 without ink.
double symbol_height(const cv::Mat& ink) {
    cv::Mat labels, facts, centres;
    const int count = cv::connectedComponentsWithStats(ink > 127, labels, facts, centres, 8);
    int highest = 0, kept = 0;
    for (int i = 1; i < count; ++i) highest = std::max(highest, facts.at<int>(i, cv::CC_STAT_HEIGHT));
    double total = 0;
    for (int i = 1; i < count; ++i) {
        const int height = facts.at<int>(i, cv::CC_STAT_HEIGHT);
        if (height > smallest * highest) {
            total += height;
            ++kept;
        }
    }
    return kept ? total / kept : 0;
}

// If its symbols have another height, the image cut to its ink, scaled to this height, with the usual margin.
cv::Mat sized(const cv::Mat& ink, double symbol) {
    const double height = symbol_height(ink);
    if (symbol == 0 || height == 0 || std::abs(height / symbol - 1) <= same) return ink;
    std::vector<cv::Point> places;
    cv::findNonZero(ink > 127, places);
    const cv::Mat cut = ink(cv::boundingRect(places));
    const double scale = symbol / height;
    const cv::Size size(std::max(1, static_cast<int>(std::nearbyint(cut.cols * scale))),
                        std::max(1, static_cast<int>(std::nearbyint(cut.rows * scale))));
    cv::Mat resized, result;
    cv::resize(cut, resized, size, 0, 0, scale < 1 ? cv::INTER_AREA : cv::INTER_CUBIC);
    cv::copyMakeBorder(resized, result, margin, margin, margin, margin, cv::BORDER_CONSTANT, cv::Scalar(0));
    return result;
}

}  // namespace

cv::Mat adapted(const cv::Mat& image, const Rule& rule) {
    cv::Mat grey = image;
    if (image.channels() == 3) cv::cvtColor(image, grey, cv::COLOR_BGR2GRAY);
    cv::Mat ink = median(grey) > 127.5 ? cv::Mat(255 - grey) : grey.clone();
    const int plain = cv::countNonZero((ink < 32) | (ink > 223));
    if (plain / static_cast<double>(ink.total()) < binary) ink = flat(ink);
    ink = sized(ink, rule.symbol);
    return rule.ink == "light" ? ink : cv::Mat(255 - ink);
}
