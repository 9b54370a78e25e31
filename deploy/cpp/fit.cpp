// How an image is put on its canvas: recog/images/fit.py, and the choice of a canvas in recog/data/plan.py.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <opencv2/imgproc.hpp>

#include "images.h"

namespace {

// The luminance that Pillow computes.
cv::Mat pillow_grey(const cv::Mat& image) {
    if (image.channels() == 1) return image;
    cv::Mat grey(image.size(), CV_8U);
    for (int y = 0; y < image.rows; ++y) {
        for (int x = 0; x < image.cols; ++x) {
            const cv::Vec3b& bgr = image.at<cv::Vec3b>(y, x);
            grey.at<uint8_t>(y, x) = static_cast<uint8_t>((bgr[2] * 19595u + bgr[1] * 38470u + bgr[0] * 7471u + 0x8000u) >> 16);
        }
    }
    return grey;
}

// The image in the channels that the recipe uses.
cv::Mat coloured(const cv::Mat& image, const std::string& channels) {
    cv::Mat result = image;
    if (image.channels() == 1 && channels != "grey") {
        cv::cvtColor(image, result, cv::COLOR_GRAY2BGR);
    } else if (image.channels() == 3 && channels == "rgb") {
        cv::cvtColor(image, result, cv::COLOR_BGR2RGB);
    } else if (image.channels() == 3 && channels == "grey") {
        cv::cvtColor(image, result, cv::COLOR_BGR2GRAY);
    }
    return result;
}

Fitted thumbnailed(const cv::Mat& image, const Rule& rule) {
    const cv::Size most(rule.width, rule.height);
    const cv::Mat small = thumbnail(pillow_grey(image), most);
    cv::Mat canvas(most, CV_8U, cv::Scalar(rule.ink == "light" ? 0 : 255));
    const cv::Point corner((most.width - small.cols) / 2, (most.height - small.rows) / 2);
    small.copyTo(canvas(cv::Rect(corner, small.size())));
    return {coloured(canvas, rule.channels), most, ""};
}

// Images that keep their size get the first canvas that holds them; what is larger than the last is shrunk.
Fitted kept(const cv::Mat& image, const Rule& rule) {
    cv::Size most = rule.buckets.back();
    for (const cv::Size& bucket : rule.buckets) {
        if (image.cols <= bucket.width && image.rows <= bucket.height) {
            most = bucket;
            break;
        }
    }
    cv::Mat picture = image;
    std::string note;
    if (image.cols > most.width || image.rows > most.height) {
        const double down = static_cast<double>(most.height) / image.rows, across = static_cast<double>(most.width) / image.cols;
        const double share = std::min(down, across);
        const cv::Size size(std::max(1, static_cast<int>(image.cols * share)), std::max(1, static_cast<int>(image.rows * share)));
        cv::resize(image, picture, size, 0, 0, cv::INTER_AREA);
        char text[64];
        std::snprintf(text, sizeof text, "shrunk to %.2f of its size", share);
        note = text;
    }
    picture = coloured(picture, rule.channels);
    cv::Mat canvas = cv::Mat::zeros(most, picture.type());
    picture.copyTo(canvas(cv::Rect(cv::Point(0, 0), picture.size())));
    return {canvas, picture.size(), note};
}

}  // namespace

Fitted fit(const cv::Mat& image, const Rule& rule) {
    if (rule.fit == "thumbnail") return thumbnailed(image, rule);
    if (rule.fit == "none") return kept(image, rule);
    const double ratio = static_cast<double>(image.cols) / image.rows;
    double width = rule.width;
    if (rule.fit == "pad") width = std::min(width, std::ceil(rule.height * ratio));
    if (rule.fit == "steps") width = std::min(width, rule.height * std::ceil(ratio));
    cv::Mat resized;
    cv::resize(image, resized, cv::Size(static_cast<int>(width), rule.height), 0, 0, cv::INTER_LINEAR);
    resized = coloured(resized, rule.channels);
    cv::Mat canvas = cv::Mat::zeros(rule.height, rule.width, resized.type());
    resized.copyTo(canvas(cv::Rect(cv::Point(0, 0), resized.size())));
    return {canvas, resized.size(), ""};
}
